"""Models that another pipeline makes: seen, fetched, understood, judged and published as revisions."""
