//! The long proofs, one row each. A suite is an ordinary test that takes its seed and its number
//! of rounds from `HANSE_SEED` and `HANSE_ROUNDS`: `cargo xtask test` runs a small slice of each
//! with a seed that changes every day, `cargo xtask soak` runs as many as asked.
//!
//! To add one: write the test so that it reads the two variables (and prints both on failure),
//! then add a row here.

/// One long proof.
pub struct Suite {
    /// The name that `cargo xtask soak` takes.
    pub name: &'static str,
    /// What is proven, in a line.
    pub about: &'static str,
    /// The crate that holds the test.
    pub package: &'static str,
    /// Cargo's words that select the test target, such as `--test crash`.
    pub target: &'static [&'static str],
    /// The filter that selects the test within its target.
    pub filter: &'static str,
    /// Rounds of one run of the test; a soak is resumable between two of them.
    pub chunk: u64,
}

/// The package whose tests start the programs of the product.
pub const E2E: &str = "hanse-e2e";

/// All suites, by name.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "apply-oracle",
        about: "server-side apply and the patches against the Go originals, random objects",
        package: "hanse-apply",
        target: &["--test", "oracle"],
        filter: "",
        chunk: 20_000,
    },
    Suite {
        name: "schema-oracle",
        about: "schemas, defaults, pruning, validation and CRDs against the Go originals",
        package: "hanse-schema",
        target: &["--test", "oracle"],
        filter: "",
        chunk: 20_000,
    },
    Suite {
        name: "cel-oracle",
        about: "expressions against cel-go with Kubernetes' environment: verdicts, texts, costs",
        package: "hanse-cel",
        target: &["--test", "oracle"],
        filter: "random",
        chunk: 20_000,
    },
    Suite {
        name: "simulator",
        about: "the server in one thread from a seed: crashes at any write, histories, no orphans",
        package: "hanse-simulator",
        target: &["--test", "simulator"],
        filter: "nothing_is_lost",
        chunk: 100,
    },
    Suite {
        name: "crash",
        about: "kill -9 of writers and watchers over one store: nothing lost, halved or doubled",
        package: "hanse-cache",
        target: &["--test", "crash"],
        filter: "",
        chunk: 250,
    },
    Suite {
        name: "power",
        about: "power cuts on a simulated disk that loses and tears what was not synced",
        package: "hanse-store-redb",
        target: &["--test", "power"],
        filter: "power_cuts",
        chunk: 250,
    },
    Suite {
        name: "fuzz",
        about: "every parser of client bytes under random input: no panic, no hang, read = written",
        package: "hanse-api",
        target: &["--test", "fuzz"],
        filter: "no_parser",
        chunk: 5_000,
    },
    Suite {
        name: "full-disk",
        about: "a simulated disk that takes no more in the middle of anything",
        package: "hanse-store-redb",
        target: &["--test", "power"],
        filter: "full_disk",
        chunk: 250,
    },
    Suite {
        name: "damage",
        about: "flipped, torn and lost blocks of the store: found, or harmless, never served",
        package: "hanse-store-redb",
        target: &["--test", "damage"],
        filter: "",
        chunk: 500,
    },
    Suite {
        name: "kill-server",
        about: "kill -9 of the server under clients: histories linearizable, watches exact",
        package: E2E,
        target: &["--test", "kill"],
        filter: "nothing_acknowledged",
        chunk: 50,
    },
    Suite {
        name: "rude",
        about: "clients that keep no rule of the protocol, all at once: others are served, bounded",
        package: E2E,
        target: &["--test", "rude"],
        filter: "every_rudeness",
        chunk: 20,
    },
    Suite {
        name: "memory",
        about: "200 workspaces in 256 MiB under clients that ask for more: refused, never killed",
        package: E2E,
        target: &["--test", "memory"],
        filter: "two_hundred",
        chunk: 10,
    },
    Suite {
        name: "kill-births",
        about: "kill -9 of the server while workspaces are born and deleted: whole or not at all",
        package: E2E,
        target: &["--test", "kill"],
        filter: "births_and_deaths",
        chunk: 25,
    },
];

/// The suite of this name.
pub fn named(name: &str) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name)
}

/// The environment variable with the seed.
pub const SEED: &str = "HANSE_SEED";
/// The environment variable with the number of rounds.
pub const ROUNDS: &str = "HANSE_ROUNDS";
