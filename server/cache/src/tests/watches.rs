//! Watches: selectors, resuming, falling behind, restarts, the end of memory.

use std::sync::Arc;

use hanse_json::json;
use hanse_store::{Revision, Store};

use super::{configmaps, key, play, play_with, told};
use crate::limits::{RING_EVENTS, WATCHER_QUEUE};
use crate::{ClusterName, Config, Filter, From, Hub, ListQuery, ReadError, Scope};

#[test]
fn a_scope_sees_its_own_events_only() {
    play(async |world| {
        let c = ClusterName::from("c");
        let scopes = [
            Scope::Wildcard,
            Scope::Cluster(c.clone()),
            Scope::Namespace(c.clone(), "n1".into()),
            Scope::Object(c.clone(), "n1".into(), "a".into()),
        ];
        let watch = |scope: &Scope| world.hub.watch(&configmaps(), scope, From::Now, None);
        let mut watchers: Vec<_> = scopes.iter().map(watch).collect();
        for (cluster, namespace, name) in [
            ("d", "n1", "a"),
            ("c", "n2", "a"),
            ("c", "n1", "b"),
            ("c", "n1", "a"),
        ] {
            world.put(&key(cluster, namespace, name), "x").await;
        }
        let counts: Vec<usize> = watchers
            .iter_mut()
            .map(|watcher| told(watcher).len())
            .collect();
        assert_eq!(counts, [4, 3, 2, 1]);
    });
}

#[test]
fn selected_objects_come_and_go() {
    play(async |world| {
        let filter: Filter = Arc::new(|object| object.label("on") == Some("yes"));
        let mut watcher = world
            .hub
            .watch(&configmaps(), &Scope::Wildcard, From::Now, Some(filter));
        let a = key("c", "ns", "a");
        let (yes, no) = (json!({"on": "yes"}), json!({"on": "no"}));
        world.put_labelled(&a, "1", no.clone()).await;
        assert_eq!(told(&mut watcher), Vec::<String>::new());
        world.put_labelled(&a, "2", yes.clone()).await;
        world.put_labelled(&a, "3", yes.clone()).await;
        let left = world.put_labelled(&a, "4", no).await;
        let mut events = Vec::new();
        while let Some(event) = watcher.try_next().unwrap() {
            events.push(event);
        }
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
        // The last state that matched, at the version of the change.
        assert_eq!(super::text(&events[2].object), "3");
        assert_eq!(events[2].object.resource_version(), left.resource_version());
        world.put_labelled(&a, "5", yes).await;
        let gone = world.delete(&a).await;
        assert_eq!(told(&mut watcher), ["ADDED a 5", "DELETED a 5"]);
        assert_eq!(watcher.bookmark(), gone | 255);
    });
}

#[test]
fn a_watch_resumes_after_its_version() {
    play(async |world| {
        let a = key("c", "ns", "a");
        let first = world.put(&a, "1").await;
        world.put(&a, "2").await;
        world.delete(&a).await;
        let from = From::Version(first.resource_version());
        let mut watcher = world.hub.watch(&configmaps(), &Scope::Wildcard, from, None);
        assert_eq!(told(&mut watcher), ["MODIFIED a 2", "DELETED a 2"]);
        world.put(&a, "3").await;
        assert_eq!(told(&mut watcher), ["ADDED a 3"]);
        // A version that is not there yet is waited for in silence.
        let future = From::Version(world.hub.version() + 256);
        let mut later = world
            .hub
            .watch(&configmaps(), &Scope::Wildcard, future, None);
        world.put(&a, "4").await;
        assert_eq!(told(&mut later), Vec::<String>::new());
        world.put(&a, "5").await;
        assert_eq!(told(&mut later), ["MODIFIED a 5"]);
    });
}

#[test]
fn a_slow_watcher_reads_on_from_the_ring() {
    play(async |world| {
        let a = key("c", "ns", "a");
        let mut watcher = world
            .hub
            .watch(&configmaps(), &Scope::Wildcard, From::Now, None);
        assert_eq!(told(&mut watcher), Vec::<String>::new());
        let many = WATCHER_QUEUE * 3 + 5;
        for n in 0..many {
            world.put(&a, &n.to_string()).await;
        }
        let lines = told(&mut watcher);
        assert_eq!(lines.len(), many);
        for (n, line) in lines.iter().enumerate().skip(1) {
            assert_eq!(*line, format!("MODIFIED a {n}"));
        }
    });
}

#[test]
fn a_watch_goes_on_over_a_restart() {
    play(async |world| {
        let a = key("c", "ns", "a");
        world.put(&a, "1").await;
        let seen = world.put(&a, "2").await.resource_version();
        world.put(&a, "3").await;
        world.delete(&a).await;
        world.put(&a, "4").await;
        let hub = Hub::open(Arc::new(world.store.reopen()), Config::default())
            .await
            .unwrap();
        assert_eq!(hub.version(), world.hub.version());
        let mut watcher = hub.watch(&configmaps(), &Scope::Wildcard, From::Version(seen), None);
        assert_eq!(
            told(&mut watcher),
            ["MODIFIED a 3", "DELETED a 3", "ADDED a 4"]
        );
        let past = ListQuery {
            at: Some(seen),
            ..ListQuery::default()
        };
        let page = hub.list(&configmaps(), &Scope::Wildcard, &past).unwrap();
        assert_eq!(super::text(&page.objects[0]), "2");
    });
}

#[test]
fn beyond_memory_the_log_is_read_and_beyond_the_log_it_is_told() {
    let config = Config {
        recent_events: 4,
        recent_bytes: 1 << 20,
        ..Config::default()
    };
    play_with(config, async move |world| {
        let a = key("c", "ns", "a");
        let first = world.put(&a, "0").await.resource_version();
        for n in 1..40 {
            world.put(&a, &n.to_string()).await;
            world.put(&key("d", "ns", "other"), "x").await;
        }
        let scope = Scope::Cluster(ClusterName::from("c"));
        let mut watcher = world
            .hub
            .watch(&configmaps(), &scope, From::Version(first), None);
        assert_eq!(
            watcher.try_next().unwrap().map(|event| event.version()),
            None
        );
        for n in 1..40 {
            let event = watcher.next().await.unwrap();
            assert_eq!(super::text(&event.object), n.to_string());
        }
        world.put(&a, "last").await;
        assert_eq!(super::text(&watcher.next().await.unwrap().object), "last");
        // A list of the past comes from the store where memory ends.
        let at = Some(first | 255);
        let query = ListQuery {
            at,
            ..ListQuery::default()
        };
        assert!(matches!(
            world.names(&scope, &query),
            Err(ReadError::TooOld { .. })
        ));
        let page = world
            .hub
            .list_past(&configmaps(), &scope, &query)
            .await
            .unwrap();
        assert_eq!(super::text(&page.objects[0]), "0");
        assert_eq!((page.objects.len(), page.version), (1, first | 255));
        world.store.compact(Revision(20)).await.unwrap();
        let hub = Hub::open(Arc::new(world.store.reopen()), config)
            .await
            .unwrap();
        let mut late = hub.watch(&configmaps(), &scope, From::Version(first), None);
        let oldest = Revision(20).end().0;
        let requested = first;
        assert_eq!(
            late.next().await.unwrap_err(),
            ReadError::TooOld { requested, oldest }
        );
        let past = world.hub.list_past(&configmaps(), &scope, &query).await;
        assert!(matches!(past, Err(ReadError::TooOld { .. })));
    });
}

#[test]
fn a_cursor_reads_the_log_where_memory_ends() {
    let config = Config {
        recent_events: 4,
        recent_bytes: 1 << 20,
        ..Config::default()
    };
    play_with(config, async |world| {
        for n in 0..30 {
            world.put(&key("c", "ns", &format!("n{n:02}")), "x").await;
        }
        let mut cursor = world.hub.subscribe_all(0);
        let mut names = Vec::new();
        while names.len() < 30 {
            for event in cursor.next_batch(7).await.unwrap() {
                names.push(event.object().key().name.to_string());
            }
        }
        let wanted: Vec<String> = (0..30).map(|n| format!("n{n:02}")).collect();
        assert_eq!(names, wanted);
    });
}

#[test]
fn a_busy_resource_forgets_its_own_past_first() {
    let config = Config {
        recent_bytes: 8 << 20,
        ..Config::default()
    };
    play_with(config, async |world| {
        let (a, b) = (key("c", "ns", "a"), key("c", "ns", "b"));
        let quiet = crate::ResourceId::new("", "secrets", "");
        let mut secret = b.clone();
        secret.resource = quiet.clone();
        let first = world.put(&secret, "1").await.resource_version();
        world.put(&secret, "2").await;
        for n in 0..RING_EVENTS + 10 {
            world.put(&a, &n.to_string()).await;
        }
        let mut watcher = world
            .hub
            .watch(&quiet, &Scope::Wildcard, From::Version(first), None);
        assert_eq!(told(&mut watcher), ["MODIFIED b 2"]);
        let at = Some(first | 255);
        let query = ListQuery {
            at,
            ..ListQuery::default()
        };
        assert!(matches!(
            world.names(&Scope::Wildcard, &query),
            Err(ReadError::TooOld { .. })
        ));
    });
}

#[test]
fn a_watch_can_be_cut() {
    play(async |world| {
        let c = ClusterName::from("c");
        let scope = Scope::Cluster(c.clone());
        let mut cut = world.hub.watch(&configmaps(), &scope, From::Now, None);
        let mut kept = world
            .hub
            .watch(&configmaps(), &Scope::Wildcard, From::Now, None);
        world.put(&key("c", "ns", "before"), "1").await;
        world.hub.cut(|_, scope| scope.cluster() == Some(&c));
        world.put(&key("c", "ns", "after"), "1").await;
        let last = cut.next().await.unwrap();
        assert_eq!(&*last.object.key().name, "before");
        assert_eq!(cut.next().await.unwrap_err(), ReadError::Cut);
        assert_eq!(told(&mut kept), ["ADDED before 1", "ADDED after 1"]);
    });
}

#[test]
fn a_restart_keeps_each_state_once() {
    play(|world| async move {
        let key = key("one", "default", "a");
        for data in ["1", "2", "3"] {
            world.put(&key, data).await;
        }
        let reopened = Arc::new(world.store.reopen());
        let hub = Hub::open(reopened, Config::default()).await.unwrap();
        let (events, _) = hub.recent_after(0, 10).unwrap();
        let [first, second, third] = &events[..] else {
            panic!("{events:?}");
        };
        let before = |event: &crate::Event| event.previous().cloned().unwrap();
        assert!(before(second).same_state(first.object()));
        assert!(before(third).same_state(second.object()));
        assert!(hub.get(&key).unwrap().same_state(third.object()));
        let texts = events.iter().map(|event| super::text(event.object()));
        assert_eq!(texts.collect::<Vec<_>>(), ["1", "2", "3"]);
    });
}

#[test]
fn what_was_deleted_is_told_as_it_was() {
    let config = Config {
        recent_events: 2,
        ..Config::default()
    };
    play_with(config, |world| async move {
        let old = key("one", "default", "old");
        let put = world.put(&old, "1").await;
        for name in ["a", "b", "c"] {
            world.put(&key("one", "default", name), name).await;
        }
        let from = world.hub.version();
        world
            .hub
            .commit(crate::Txn::default().delete(&put))
            .await
            .unwrap();
        let (events, _) = world.hub.recent_after(from, 10).unwrap();
        let deleted = &events[0];
        assert!(deleted.is_delete() && !deleted.object().same_state(&put));
        assert_eq!(deleted.object().key(), &old);
        assert_eq!(deleted.previous().unwrap().json(), put.json());
        assert!(deleted.version() > from);
    });
}
