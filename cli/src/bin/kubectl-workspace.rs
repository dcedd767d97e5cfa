//! `kubectl workspace`: walk the tree of workspaces; the long name of `kubectl ws`.

fn main() -> std::process::ExitCode {
    kubectl_hanse::main("kubectl workspace", kubectl_hanse::ws::run)
}
