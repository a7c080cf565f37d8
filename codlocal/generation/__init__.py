"""Counterfactual candidates: the engines that write them and the search that guides them."""
