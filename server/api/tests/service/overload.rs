//! Too much at once: who is refused, with which words, and who gets through.

use hanse_api::traffic::Config;

use crate::{ADMIN, MAPS, MASTER, World, answered, config_map};

#[tokio::test]
async fn beyond_the_share_of_a_user_requests_are_told_when_to_come_again() {
    let traffic = Config {
        requests: 4,
        ..Config::default()
    };
    let world = World::with(|parts| parts.traffic = traffic).await;
    // Waits for a version that does not come.
    let line = format!("GET {MAPS}?resourceVersion=99999999&resourceVersionMatch=NotOlderThan");
    let waiting = world.send(&line, ADMIN, &[], None);
    let other = async {
        tokio::task::yield_now().await;
        let refused = answered(world.send(&format!("GET {MAPS}"), ADMIN, &[], None).await).await;
        let exempt = world.send(&format!("GET {MAPS}"), MASTER, &[], None).await;
        let lease = "GET /apis/coordination.k8s.io/v1/namespaces/default/leases/none";
        let own_level = world.send(lease, ADMIN, &[], None).await;
        (refused, exempt.status(), own_level.status())
    };
    let (late, (refused, exempt, own_level)) = tokio::join!(waiting, other);
    assert_eq!(refused.code, 429, "{}", refused.body);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.body["reason"], "TooManyRequests");
    assert_eq!(refused.body["details"]["retryAfterSeconds"], 1);
    assert_eq!((exempt.as_u16(), own_level.as_u16()), (200, 404));
    assert_eq!(late.status(), 504);
    assert_eq!(
        world.ask_as(ADMIN, &format!("GET {MAPS}"), None).await.0,
        200
    );
}

#[tokio::test]
async fn without_memory_nothing_is_taken_in_and_all_may_be_given_back() {
    let traffic = Config {
        memory_bytes: Some(100 << 20),
        resident_bytes: || 70 << 20,
        ..Config::default()
    };
    let world = World::with(|parts| parts.traffic = traffic).await;
    let create = format!("POST {MAPS}");
    let (code, _) = world.ask(&create, Some(config_map("a", "1"))).await;
    assert_eq!(code, 201, "masters get through");
    let map = config_map("b", "1");
    let refused = answered(world.send(&create, ADMIN, &[], Some(map)).await).await;
    assert_eq!(
        (refused.code, &refused.headers["retry-after"]),
        (429, &"5".parse().unwrap())
    );
    let watch = world
        .send(&format!("GET {MAPS}?watch=1"), ADMIN, &[], None)
        .await;
    assert_eq!(watch.status(), 429);
    for (line, code) in [
        (format!("GET {MAPS}"), 200),
        (format!("DELETE {MAPS}/a"), 200),
    ] {
        assert_eq!(world.ask_as(ADMIN, &line, None).await.0, code, "{line}");
    }
}
