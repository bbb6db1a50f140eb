"""A Dask cluster for what computes, for those who have more than one machine; needs the extra ``dask``."""
