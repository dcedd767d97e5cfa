//! The way to the sites and what can go wrong on it, with real clusters: each test is a story that
//! a tenant or an operator would tell.
//!
//! Starting a hub and two API servers takes longer than most stories, so they share one pair of
//! sites, `near` and `far`, and are told one after the other: that is why this file brings its own
//! `main`. It understands a filter, `--list`, and ignores libtest's other options. Random moments
//! come from `HANSE_SEED`, their number from `HANSE_ROUNDS`.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use hanse_e2e::fleet::{Fleet, PLATFORM};
use hanse_e2e::http::Client;
use hanse_e2e::kubectl::Kubectl;
use hanse_e2e::site::{Site, TokenUser};
use serde_json::{Value, json};

mod deaths;
mod dependencies;
mod joining;
mod masses;
mod refusals;
mod rules;
mod schemas;
mod silence;
mod tenants;

const MAPS: &str = "api/v1/configmaps";
/// Where a tenant's ConfigMaps are.
const OWN_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A hub, two sites that have joined, and what the platform team publishes.
pub struct Pair {
    pub fleet: Fleet,
    pub near: Site,
    pub far: Site,
}

type Story = for<'a> fn(&'a mut Pair) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

macro_rules! stories {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |pair| Box::pin($module::$name(pair)))),*]
    };
}

const STORIES: &[(&str, Story)] = stories![
    refusals::refusals_are_told_above_and_clear_themselves,
    schemas::a_schema_that_differs_at_one_site_names_the_field,
    deaths::the_syncer_may_die_at_any_moment_of_a_roll_out,
    deaths::drift_is_repaired_without_a_hub_and_over_a_restart,
    deaths::the_hub_may_die_at_any_moment_of_a_roll_out,
    joining::one_token_joins_one_cluster_and_reaches_nothing_else,
    tenants::a_tenant_reaches_no_other_workspace_no_site_and_no_wildcard,
    dependencies::what_pods_name_follows_them,
    rules::a_rule_changes_what_travels_and_brings_up_what_is_born,
    rules::pods_reach_their_workspace_with_a_token_that_ends,
    masses::a_mass_change_is_parked_until_the_operator_confirms,
    silence::a_silent_site_is_told_and_holds_up_no_deletion,
    joining::a_certificate_is_renewed_while_its_site_works,
];

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let wanted: Vec<&(&str, Story)> = STORIES
        .iter()
        .filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter.as_str())))
        .collect();
    if args.iter().any(|arg| arg == "--list") {
        wanted.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    let started = Instant::now();
    let (mut passed, mut failures) = (0, Vec::new());
    match Pair::start().await {
        Ok(mut pair) => {
            for (name, story) in &wanted {
                let told = story(&mut pair).await;
                let word = if told.is_ok() { "ok" } else { "FAILED" };
                println!("test {name} ... {word}");
                passed += usize::from(told.is_ok());
                failures.extend(told.err().map(|error| (*name, error)));
            }
        }
        Err(error) => failures.push(("the start of hub and sites", error)),
    }
    for (name, error) in &failures {
        println!("\n---- {name} ----\n{error:#}");
    }
    let word = if failures.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n",
        passed,
        failures.len(),
        STORIES.len() - wanted.len(),
        started.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(!failures.is_empty()))
}

impl Pair {
    async fn start() -> Result<Pair> {
        let users = [TokenUser {
            token: tenants::TOKEN,
            user: tenants::USER,
            groups: &[],
        }];
        let sites = async {
            let near = Site::apiserver("near", &[]).await?;
            let far = Site::apiserver("far", &[]).await?;
            anyhow::Ok((near, far))
        };
        let (fleet, sites) = tokio::join!(Fleet::start_with(&users), sites);
        let (mut fleet, (near, far)) = (fleet?, sites?);
        fleet.join("near", &near.kubeconfig()).await?;
        // So short that it is renewed while the stories are told.
        let spec = json!({"certificateSeconds": joining::CERTIFICATE_SECONDS});
        fleet.join_with("far", &far.kubeconfig(), &spec).await?;
        let pair = Pair { fleet, near, far };
        pair.import("deployments.apps", "kubernetes").await?;
        Ok(pair)
    }

    /// Publishes a resource as the near site serves it; the second time changes nothing.
    async fn import(&self, resource: &str, export: &str) -> Result<()> {
        let file = self.near.kubeconfig().display().to_string();
        let words = [
            "import",
            resource,
            "--site-kubeconfig",
            &file,
            "--export",
            export,
        ];
        self.fleet.hanse(PLATFORM, &words).await?;
        let again = self.fleet.hanse(PLATFORM, &words).await?;
        anyhow::ensure!(
            !again.contains("created") && !again.contains("configured"),
            "{again}"
        );
        Ok(())
    }

    /// A tenant with a Placement that sends these kinds to these sites.
    async fn tenant(
        &self,
        name: &str,
        exports: &[&str],
        objects: Value,
        sites: &[&str],
    ) -> Result<Kubectl> {
        let tenant = self.fleet.tenant(name, exports).await?;
        let placement = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
            "metadata": {"name": "here"},
            "spec": {"objects": objects, "sites": {"names": sites}},
        });
        tenant.apply(&placement.to_string()).await?;
        Ok(tenant)
    }

    /// A tenant's workspace, over HTTP as its administrator.
    fn client(&self, tenant: &str) -> Result<Client> {
        self.fleet.hub.cluster(&format!("{PLATFORM}:{tenant}"))
    }
}

fn maps() -> Value {
    json!([{"resource": "configmaps"}])
}

fn map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"value": value},
    })
}
