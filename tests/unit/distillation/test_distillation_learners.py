from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codlocal.core.records import Example
from codlocal.distillation.composition import baseline_set
from codlocal.distillation.knowledge import Knowledge
from codlocal.distillation.learners import random_soft_labels
from codlocal.distillation.teacher_outputs import TeacherOutputs


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=12), st.integers(0, 5))
def test_soft_labels_are_exchanged_within_a_label_only(labels, seed):
    rows = {f"train-{n}": n for n in range(len(labels))}
    noise = np.random.default_rng(1).random((len(labels), 3))
    logits = (np.eye(3)[labels] * 2 + noise).astype(np.float32)
    before = logits.copy()
    texts = baseline_set([Example(id=one, text=one, label=0) for one in rows])
    job = SimpleNamespace(training_set=texts, seed=seed)
    found = random_soft_labels(Knowledge(TeacherOutputs(rows, logits), None), job).outputs
    changed = found.of(list(rows))
    assert changed.argmax(axis=1).tolist() == labels
    assert sorted(map(tuple, changed.tolist())) == sorted(map(tuple, before.tolist()))
    assert np.array_equal(logits, before)
    again = random_soft_labels(Knowledge(TeacherOutputs(rows, logits), None), job).outputs
    assert np.array_equal(again.logits, found.logits)
