//! What a Kubernetes API can do, as one trait, and how to do it over HTTP/2.
