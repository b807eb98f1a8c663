//! Programs in a pod or a Job, SQL through a port-forward.
