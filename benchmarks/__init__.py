"""What ATF costs, each figure beside a baseline measured in the same run; ``make bench`` runs them."""
