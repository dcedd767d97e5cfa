//! `kubectl ws`: walk the tree of workspaces.

fn main() -> std::process::ExitCode {
    kubectl_hanse::main("kubectl ws", kubectl_hanse::ws::run)
}
