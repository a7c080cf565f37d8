"""The texts of a run, read before it is begun: whether they can be used."""

from codlocal.core.errors import DataError
from codlocal.core.records import DatasetSpec
from codlocal.core.run import RunFolder
from codlocal.data.loaders import load
from codlocal.data.sampling import few_shots


def drawn(run: RunFolder) -> DatasetSpec | None:
    """What the texts are, having drawn the originals from them; None if they are to be fetched.

    Raises:
        DataError: they can't be used, or are too few for k.

    """
    dataset = run.config.dataset
    from_hub = dataset.path is None and dataset.source in {"auto", "hub"}
    try:
        loaded = load(dataset, offline=True)
    except DataError:
        if from_hub and not run.config.runtime.offline:
            return None
        raise
    few_shots(loaded.train, dataset.k, dataset.all_seeds, loaded.spec.label_names)
    return loaded.spec
