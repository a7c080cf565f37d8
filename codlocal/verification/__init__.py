"""The teacher's verdict on candidates, and the choice of the counterfactual to train on."""
