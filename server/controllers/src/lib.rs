//! What Kubernetes' own controllers do: garbage, namespaces, service accounts, CRDs, certificates.
