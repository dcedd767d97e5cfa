//! `kubectl hanse`: sites, imports, and where things are and why.

fn main() -> std::process::ExitCode {
    kubectl_hanse::main("kubectl hanse", kubectl_hanse::hanse::run)
}
