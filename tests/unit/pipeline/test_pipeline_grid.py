import pytest
from pydantic import ValidationError
from runs import grid_of

from codlocal.core.config import parse_assignments
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError
from codlocal.core.run import RunFolder
from codlocal.pipeline import ablation
from codlocal.pipeline.cells import plan
from codlocal.pipeline.grid import combinations, read_grid
from codlocal.pipeline.session import Session


def written(tmp_path, text):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    return path


def test_a_grid_s_cells_share_one_run_of_the_largest_k():
    (source,) = plan(grid_of())
    assert (source.config.dataset.k, source.config.dataset.all_seeds) == (16, (0, 1))
    assert source.generates
    places = [(c.config.dataset.k, c.config.dataset.seed, c.arm) for c in source.cells]
    assert places == [
        (k, seed, arm) for k in (8, 16) for seed in (0, 1) for arm in ("student", "baseline")
    ]
    assert len({cell.key for cell in source.cells}) == 8
    assert all(cell.config.dataset.seeds == 1 for cell in source.cells)


def test_a_run_s_folder_is_in_the_sweep_whatever_its_dataset_is_called(tmp_path):
    (source,) = plan(grid_of(dataset={"name": "/etc/../x", "path": str(tmp_path)}))
    assert source.name == f"-etc-..-x-{source.key[:12]}"


def test_arms_without_counterfactuals_are_done_once_for_all_generators():
    first, second = plan(grid_of(generator=["a", "b"], vary={"verification": {"min_pairs": 2}}))
    assert [cell.arm for cell in first.cells].count("baseline") == 4
    assert {cell.arm for cell in second.cells} == {"student"}
    rows = {cell.arm: cell.blank for cell in first.cells}
    assert (rows["student"].generator, rows["baseline"].generator) == ("a", None)
    assert rows["student"].settings == {"verification.min_pairs": 2}
    assert rows["baseline"].settings == {"verification.min_pairs": None}


def test_arms_of_the_first_originals_are_done_for_each_order_of_them():
    vary = {"generator": {"select_originals": ["first", "active"]}}
    found = [cell for one in plan(grid_of(k=8, vary=vary, arm=["half", "baseline"], seeds=1))
             for cell in one.cells]  # fmt: skip
    orders = [(one.arm, *one.settings.values()) for one in found]
    assert orders == [("half", "first"), ("baseline", None), ("half", "active")]


def test_a_grid_without_counterfactuals_needs_no_generator():
    (source,) = plan(grid_of(arm="logistic"))
    assert not source.generates


def test_methods_and_distillation_settings_share_the_counterfactuals():
    vary = {"distillation": {"warm_start": ["none", "head"]}}
    (source,) = plan(grid_of(method=["kd", "lwd"], vary=vary))
    assert len(source.cells) == 8 * 4
    assert {cell.config.distillation.warm_start for cell in source.cells} == {"none", "head"}


def test_work_is_of_the_settings_that_an_arm_heeds():
    arms = ["student", "alpha0", "untrained", "logistic", "setfit"]

    def counts(**changes):
        """How many pieces of work each arm is, and in how many cells."""
        (source,) = plan(grid_of(arm=arms, k=8, seeds=1, **changes))
        assert len({cell.key for cell in source.cells}) == len(source.cells)
        return [
            (len({one.work for one in found}), len(found))
            for found in ([one for one in source.cells if one.arm == arm] for arm in arms)
        ]

    once, each = (1, 2), (2, 2)
    assert counts(method=["kd", "lwd"]) == [each, once, once, once, once]
    for axis, heeding in {
        "interpolation_weight": [each, once, once, once, once],
        "kl_weight": [each, once, once, once, once],
        "steps": [each, each, once, once, each],
        "student_layers": [each] * 5,
    }.items():
        assert counts(vary={"distillation": {axis: [1, 2]}}) == heeding
    warm = {"warm_start": ["none", "head"]}
    assert counts(vary={"distillation": warm}) == [each] * 5  # it decides an automatic start
    pretrained = {"distillation": {"student_init": "pretrained"}}
    assert counts(vary={"distillation": warm}, settings=pretrained)[2:] == [once] * 3


def test_keys_follow_what_a_result_depends_on():
    def keys(**changes):
        return {(c.arm, c.config.dataset.k, c.config.dataset.seed): c.key
                for source in plan(grid_of(**changes)) for c in source.cells}  # fmt: skip

    base, longer = keys(), keys(k=[8, 16, 32])
    assert keys(settings={"runtime": {"concurrency": 3}}) == base
    assert longer["baseline", 8, 0] == base["baseline", 8, 0]
    # The gate and the demonstrations depend on all originals of the run.
    assert longer["student", 8, 0] != base["student", 8, 0]
    changed = keys(settings={"distillation": {"steps": 7}})
    assert not set(changed.values()) & set(base.values())


def test_a_curve_is_of_all_settings_but_k_and_seed(tmp_path):
    def curves(**changes):
        return {cell.curve for one in plan(grid_of(arm="student", **changes)) for cell in one.cells}

    assert len(curves()) == 1
    assert curves() == curves(k=[32], seed=7, seeds=1)
    assert not curves() & curves(settings={"distillation": {"steps": 7}})
    assert not curves() & curves(settings={"generator": {"candidates": 3}})
    for folder in "ab":
        tmp_path.joinpath(folder).mkdir()
        tmp_path.joinpath(folder, "x.csv").touch()
    first, second = (curves(dataset={"path": str(tmp_path / it / "x.csv")}) for it in "ab")
    assert first == second


def test_settings_lie_over_the_profile_and_datasets_may_be_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("own.jinja", "mine.csv", "news.csv"):
        tmp_path.joinpath(name).touch()
    entry = {"path": "mine.csv", "label_column": "stars", "prompt": "own.jinja"}
    news = {"path": "news.csv", "prompt": "topic"}
    grid = grid_of(dataset=["yelp", entry, news], settings={"distillation": {"steps": 7}})
    named, mine, third = (config for config, _ in combinations(grid))
    assert named.distillation.steps == mine.distillation.steps == 7
    assert (mine.dataset.name, mine.dataset.label_column) == ("mine", "stars")
    assert mine.dataset.path == str(tmp_path / "mine.csv")
    assert mine.generator.prompt == str(tmp_path / "own.jinja")
    assert (named.generator.prompt, third.generator.prompt) == (None, "topic")


def test_a_file_s_mistakes_come_all_at_once(tmp_path):
    path = written(
        tmp_path,
        'arm = ["student", "nonsense"]\nk = [8, 7]\nspeed = 1\n'
        "[vary.dataset]\nk = [1]\n[vary.runtime]\nport = [1]\n",
    )
    with pytest.raises(ConfigError) as caught:
        read_grid(path, {})
    for words in (
        "no such arm: nonsense",
        "7: every k is even",
        "speed: no such setting",
        "dataset: Field required",
        "runtime settings say how",
    ):
        assert words in caught.value.message
    for key, value in (("k", "4"), ("name", "'sst2'")):
        path = written(tmp_path, f'dataset = "yelp"\nk = 8\nvary.dataset.{key} = [{value}]\n')
        with pytest.raises(ConfigError, match=rf"dataset\.{key} has an axis of its own"):
            read_grid(path, {})


@pytest.mark.parametrize(
    "second", [{"path": "b/mine.csv"}, "mine", {"name": "mine", "source": "hub"}]
)
def test_two_datasets_of_one_name_are_refused(tmp_path, second):
    with pytest.raises(ValidationError, match=r"two are called 'mine'.*another name"):
        grid_of(dataset=[{"path": "a/mine.csv"}, second])
    assert grid_of(dataset=[{"path": "a/mine.csv"}, {"path": "b/mine.csv", "name": "b"}, "yelp"])
    assert grid_of(dataset=["yelp", "yelp"])
    path = written(tmp_path, 'k = 8\ndataset = [{ path = "a/x.csv" }, { path = "b/x.csv" }]\n')
    with pytest.raises(ConfigError, match=r"dataset: two are called 'x'"):
        read_grid(path, {})


def test_names_of_nothing_are_refused_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("reviews.csv").touch()
    own = [{"name": "amazon", "prompt": "nope.jinja"}, {"path": "review.csv"}]
    confused = {"targets": "confusion", "confused_student": "./lost"}
    with pytest.raises(ConfigError) as caught:
        combinations(grid_of(dataset=["yelpp", *own]))
    assert "no dataset 'yelpp'. Did you mean yelp?" in caught.value.message
    assert "nope.jinja" in caught.value.message
    assert f"no file or folder {tmp_path}/review.csv. Did you mean reviews.csv?" in str(
        caught.value
    )
    with pytest.raises(ConfigError, match="There is no model folder lost"):
        plan(grid_of(settings={"generator": confused}))
    with pytest.raises(ConfigError, match=r"pairs_from: \./lost is no run"):
        plan(grid_of(pairs_from="./lost"))


@pytest.mark.parametrize("key", ["k", "seed", "seeds"])
def test_no_dataset_has_a_size_or_seeds_of_its_own(key):
    with pytest.raises(ValidationError, match=rf"decides these itself: give `{key}` outside"):
        grid_of(dataset=["amazon", {"name": "yelp", key: 4}])


@pytest.mark.parametrize("key", ["name", "k", "seed", "seeds"])
def test_settings_that_the_grid_decides_are_refused(tmp_path, key):
    path = written(tmp_path, 'dataset = "yelp"\nk = 8\n')
    place = "dataset" if key == "name" else key
    with pytest.raises(ConfigError, match=rf"give dataset\.{key} as `{place}`, outside of sett"):
        read_grid(path, parse_assignments([f"dataset.{key}=0"]))
    assert read_grid(path, parse_assignments(["dataset.text_column=body"]))


def test_axes_that_are_left_out_leave_their_setting_free():
    settings = {"generator": {"model": "a"}, "distillation": {"method": "kd"}}
    ((config, _),) = combinations(grid_of(settings=settings))
    assert (config.generator.model, config.distillation.method) == ("a", "kd")
    with pytest.raises(ValidationError, match=r"generator\.model as .*distillation\.method as"):
        grid_of(settings=settings, generator="b", method="lwd")


def test_settings_are_checked_before_anything_runs(tmp_path):
    grid = grid_of(
        method=["kd", "magic"],
        vary={"distillation": {"steps": [0, 5]}, "generator": {"sampling": [1], "a.b": [1]}},
    )
    with pytest.raises(ConfigError, match="The grid has mistakes") as caught:
        combinations(grid)
    lines = caught.value.message.splitlines()[1:]
    assert len(lines) == len(set(lines)) == 4
    assert read_grid(
        written(tmp_path, 'dataset = "yelp"\nk = 8\n'), {"distillation": {"steps": 3}}
    ).settings == {"distillation": {"steps": 3}}


def test_texts_that_no_cell_could_use_are_refused_before_anything_runs(tmp_path, call):
    for name in ("one", "two"):
        rows = "".join(f"{name} {label} {at},{label}\n" for at in range(9) for label in "ab")
        tmp_path.joinpath(f"{name}.csv").write_text("text,mood\n" + rows)
    words = """profile = "embedded"
dataset = ["yelp", {{ path = "{0}/one.csv" }}, {{ path = "{0}/two.csv", label_column = "mood" }}]
k = {1}
"""

    def told(k):
        grid = written(tmp_path, words.format(tmp_path, k))
        code, _, err = call("ablate", str(grid), "--out", str(tmp_path / "sweep"))
        assert code == 1 and not tmp_path.joinpath("sweep").exists()
        return err

    assert "two.csv" not in (err := told(8)) and "yelp" not in err
    assert "one.csv has no column 'label'. Columns: text, mood." in err
    assert "label_column = " in err
    assert "64 balanced texts can't be drawn: the class 'a' has only" in told(64)


def test_texts_that_the_teacher_orders_are_of_one_k_only():
    settings = {"generator": {"select_originals": "active"}}
    with pytest.raises(ConfigError, match="not nested"):
        plan(grid_of(settings=settings))
    assert plan(grid_of(settings=settings, k=16))


def test_a_budget_that_no_arm_would_heed_is_refused():
    with pytest.raises(ConfigError, match="would change nothing"):
        plan(grid_of(vary={"generator": {"budget": ["paper", "max"]}}))


def test_more_counterfactuals_than_a_student_gets_are_refused():
    with pytest.raises(ConfigError, match="only cost time"):
        plan(grid_of(vary={"verification": {"per_example": [1, 3]}}))


def test_a_tracker_whose_curves_would_be_lost_is_refused():
    with pytest.raises(ConfigError, match="curves with them"):
        plan(grid_of(settings={"runtime": {"tracker": "tensorboard"}}))


def lender(path, **generator):
    """A run with counterfactuals, whose generator's settings are a grid's but for some."""
    ((made, _),) = combinations(grid_of())
    chosen = {"generator": made.generator.model_copy(update=generator)}
    with RunFolder.open(path, made.model_copy(update=chosen)) as run, run.stage("generate"):
        pass
    return str(path)


def test_counterfactuals_of_unequal_searches_make_no_curve(tmp_path):
    runs = [[], [lender(tmp_path / "same")], [lender(tmp_path / "other", max_candidates=2)]]
    curves = [
        {
            cell.arm: cell.curve
            for (source,) in [plan(grid_of(pairs_from=one))]
            for cell in source.cells
        }
        for one in runs
    ]
    assert curves[0] == curves[1]
    assert curves[2]["baseline"] == curves[0]["baseline"]
    assert curves[2]["student"] != curves[0]["student"]


def test_a_lender_whose_edits_flip_by_choice_is_named(tmp_path):
    lent = lender(tmp_path / "lent", rounds=("infill", "guided"))
    with pytest.raises(ConfigError, match=r"first round of .*lent is infill") as caught:
        plan(grid_of(arm=["student", "unverified"], pairs_from=[lent]))
    assert "lend from a run that begins with guided or wide or free" in caught.value.hint


def test_generators_of_a_grid_are_not_one_server():
    settings = {"runtime": {"server_url": "http://127.0.0.1:1"}}
    assert plan(grid_of(generator=["one"], settings=settings))
    with pytest.raises(ConfigError, match=r"would be the one of runtime\.server_url"):
        plan(grid_of(generator=["one", "other"], settings=settings))


def test_arms_that_show_what_verification_is_worth_need_edits_it_had_no_say_in():
    with pytest.raises(ConfigError, match=r"unverified needs .* first round of yelp is infill"):
        plan(grid_of(arm=["student", "unverified"]))
    own = {"generator": {"rounds": ["guided", "infill"]}}
    assert plan(grid_of(arm=["student", "unverified"], settings=own))


def test_a_sweep_never_mixes_texts_of_a_file_that_was_changed(tmp_path, monkeypatch):
    advance = Session.advance
    monkeypatch.setattr(Session, "advance", lambda self, _until: advance(self, "data"))
    path = tmp_path / "mine.csv"

    def lost(k, tag):
        rows = "".join(f"{tag} {label} {at},{label}\n" for at in range(9) for label in "ab")
        path.write_text("text,label\n" + rows)
        grid = grid_of(dataset={"path": str(path)}, k=k, seeds=1, arm="baseline")
        (source,) = plan(grid)
        _, failed = ablation._prepared(source, source.cells, tmp_path / "sweep", Console(-1))
        return [row.error for row in failed]

    assert lost(2, "one") == lost(4, "one") == lost(2, "two") == []
    (error,) = lost([6], "two")
    assert "the data was changed in between" in error
