//! Black box tests: real kubectl, real Kubernetes API servers as physical clusters, processes
//! that are killed. Everything here sees what a user sees - processes, files, HTTP - and names no
//! crate of the product.
//!
//! Start at [`site::Site`] (a real physical cluster) and [`hub::Hub`] (a running `hanse`). Both
//! keep their processes in [`process::Process`], which ends them when it is dropped.
//! The tests themselves are under `tests/`.

pub mod bench;
pub mod cgroup;
pub mod demo;
pub mod example;
pub mod fleet;
pub mod golden;
pub mod http;
pub mod hub;
pub mod kubeconfig;
pub mod kubectl;
pub mod pki;
pub mod process;
pub mod raw;
pub mod relay;
pub mod script;
pub mod site;
pub mod tools;
pub mod wait;
