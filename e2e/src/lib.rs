//! Black box tests: real kubectl, real Kubernetes API servers, killed processes.
