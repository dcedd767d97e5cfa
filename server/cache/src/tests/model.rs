//! Random writes against a model that remembers every state: lists at any version, in pages, in
//! any scope, with the present going on meanwhile; and watches from any version.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_json::json;
use proptest::prelude::*;

use super::{configmaps, document, key, play, text};
use crate::{ClusterName, Expect, Filter, From, Hub, ListQuery, Scope, Txn, WatchKind, Write};

/// Names that sort differently by parts than by joined bytes.
const CLUSTERS: [&str; 3] = ["a", "a-b", "a.b"];
const NAMESPACES: [&str; 3] = ["n", "n-1", "n.1"];
const NAMES: [&str; 3] = ["x", "x-1", "y"];

#[derive(Clone, Debug)]
struct Step(Vec<(usize, usize, usize, Option<u8>)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (
        0..3usize,
        0..3usize,
        0..3usize,
        proptest::option::weighted(0.7, any::<u8>()),
    );
    let step = proptest::collection::vec(write, 1..4).prop_map(Step);
    proptest::collection::vec(step, 1..25)
}

/// Joined key to data, at one version.
type Snapshot = BTreeMap<String, String>;

fn scopes() -> Vec<Scope> {
    let (c, n) = (ClusterName::from("a"), "n".into());
    vec![
        Scope::Wildcard,
        Scope::Cluster(c.clone()),
        Scope::Namespace(c.clone(), n),
        Scope::Object(c, "n".into(), "x".into()),
    ]
}

fn within(scope: &Scope, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    scope.contains(&key(parts[0], parts[1], parts[2]))
}

fn even() -> Filter {
    Arc::new(|object| object.label("even") == Some("true"))
}

fn is_even(data: &str) -> bool {
    data.parse::<u8>().unwrap() % 2 == 0
}

async fn write(hub: &Hub, step: &Step, model: &mut Snapshot) -> u64 {
    let mut txn = Txn::default();
    for (cluster, namespace, name, data) in &step.0 {
        let key = key(CLUSTERS[*cluster], NAMESPACES[*namespace], NAMES[*name]);
        if txn.writes.iter().any(|write| write.key == key) {
            continue;
        }
        let put = data.map(|data| {
            let labels = json!({"even": (data % 2 == 0).to_string()});
            document(&key.name, &data.to_string(), labels)
        });
        match data {
            Some(data) => model.insert(key.path(), data.to_string()),
            None => model.remove(&key.path()),
        };
        txn.writes.push(Write {
            key,
            expect: Expect::Any,
            put,
        });
    }
    hub.commit(txn).await.unwrap().version
}

fn check_lists(hub: &Hub, version: u64, model: &Snapshot) {
    for scope in scopes() {
        for filter in [None, Some(even())] {
            let wanted: Vec<(String, String)> = model
                .iter()
                .filter(|(path, data)| within(&scope, path) && (filter.is_none() || is_even(data)))
                .map(|(path, data)| (path.clone(), data.clone()))
                .collect();
            for limit in [1, 2, 1000] {
                let mut query = ListQuery {
                    at: Some(version),
                    limit: Some(limit),
                    filter: filter.clone(),
                    count_rest: true,
                    ..ListQuery::default()
                };
                let mut found = Vec::new();
                loop {
                    let page = hub.list(&configmaps(), &scope, &query).unwrap();
                    assert_eq!(page.version, version);
                    let objects = page.objects.iter();
                    found.extend(objects.map(|object| (object.key().path(), text(object))));
                    if let Some(remaining) = page.remaining {
                        assert_eq!(remaining as usize, wanted.len() - found.len());
                    }
                    if !page.more {
                        break;
                    }
                    assert_eq!(page.objects.len(), limit);
                    query.after = found.last().map(|(path, _)| path.clone());
                }
                assert_eq!(found, wanted, "{scope:?} at {version}");
            }
        }
    }
}

fn check_watch(hub: &Hub, scope: &Scope, filter: Option<Filter>, states: &[(u64, Snapshot)]) {
    let select = |state: &Snapshot| -> Snapshot {
        let selected = state
            .iter()
            .filter(|(path, data)| within(scope, path) && (filter.is_none() || is_even(data)));
        selected
            .map(|(path, data)| (path.clone(), data.clone()))
            .collect()
    };
    let (start, state) = &states[0];
    let mut seen = select(state);
    let from = From::Version(*start);
    let mut watcher = hub.watch(&configmaps(), scope, from, filter.clone());
    let mut later = states[1..].iter();
    while let Some(event) = watcher.try_next().unwrap() {
        let path = event.object.key().path();
        assert_eq!(event.object.resource_version(), event.version());
        let before = match event.kind {
            WatchKind::Added | WatchKind::Modified => seen.insert(path, text(&event.object)),
            WatchKind::Deleted => seen.remove(&path),
        };
        assert_eq!(before.is_some(), event.kind != WatchKind::Added);
        assert!(event.version() <= states.last().unwrap().0);
    }
    assert_eq!(seen, select(&later.next_back().unwrap_or(&states[0]).1));
    assert_eq!(watcher.bookmark(), states.last().unwrap().0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn lists_and_watches_agree_with_a_model(steps in steps()) {
        play(async move |world| {
            let mut model = Snapshot::new();
            let mut states = vec![(world.hub.version(), model.clone())];
            for step in &steps {
                let version = write(&world.hub, step, &mut model).await;
                states.push((version, model.clone()));
            }
            let reopened = Hub::open(Arc::new(world.store.reopen()), Default::default()).await;
            for hub in [&world.hub, &reopened.unwrap()] {
                for (place, (version, state)) in states.iter().enumerate() {
                    check_lists(hub, *version, state);
                    for scope in scopes() {
                        check_watch(hub, &scope, None, &states[place..]);
                        check_watch(hub, &scope, Some(even()), &states[place..]);
                    }
                }
            }
        });
    }
}
