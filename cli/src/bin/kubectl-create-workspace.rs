//! `kubectl create workspace`: a workspace below the current one.

fn main() -> std::process::ExitCode {
    kubectl_hanse::main("kubectl create workspace", kubectl_hanse::ws::run_create)
}
