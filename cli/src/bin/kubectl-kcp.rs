//! `kubectl kcp`: binds and publishes APIs, under kcp's names.

fn main() -> std::process::ExitCode {
    kubectl_hanse::main("kubectl kcp", kubectl_hanse::kcp::run)
}
