//! Looking at connections, and closing them.

use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;

use super::Rest;
use crate::registry::made_at;

fn ids(page: &Value) -> Vec<String> {
    let connections = page["connections"].as_array().unwrap().iter();
    connections.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_listed_counted_and_shown() {
    let rest = Rest::start().await;
    let (mut clients, mut alices) = (Vec::new(), Vec::new());
    for index in 0..5 {
        let user = ["alice", "bob"][index % 2];
        let (client, id) = rest.connect(&format!("?user={user}&topic=a%2Cb%2Fc")).await;
        clients.push(client);
        if user == "alice" {
            alices.push(id);
        }
    }
    let (_anonymous, nameless) = rest.connect("").await;

    let everyone = rest.get("/connections").await;
    assert_eq!((ids(&everyone).len(), everyone.get("next")), (6, None));
    let (mut paged, mut target) = (Vec::new(), "/connections?limit=2".to_owned());
    loop {
        let page = rest.get(&target).await;
        paged.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/connections?limit=2&next={next}");
    }
    assert_eq!(paged, ids(&everyone));
    let mut found = ids(&rest.get("/connections?user=alice").await);
    found.sort();
    alices.sort();
    assert_eq!(found, alices);
    for (query, count) in [("", 6), ("?user=bob", 2), ("?topic=a%2Cb%2Fc", 5), ("?topic=a", 0), ("?estimate=true", 6)] {
        let counted = rest.get(&format!("/connections/count{query}")).await;
        assert_eq!(counted, json!({"count": count, "estimated": false}), "{query}");
    }

    let shown = rest.get(&format!("/connections/{}", alices[0].replace('=', "%3D"))).await;
    assert_eq!((&shown["user"], &shown["topics"], &shown["open"]), (&json!("alice"), &json!(["a,b/c"]), &json!(true)));
    assert!(shown["lastActiveAt"].as_i64().unwrap() >= shown["connectedAt"].as_i64().unwrap());
    assert_eq!(rest.get(&format!("/connections/{nameless}")).await.get("user"), None);
    rest.call("GET", "/connections/nobody", 404).await;
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_is_gone_everywhere() {
    let rest = Rest::start().await;
    let (mut client, id) = rest.connect("?user=alice&topic=t").await;
    rest.call("DELETE", &format!("/connections/{id}"), 204).await;
    assert!(client.closed().await.is_some());
    for method in ["DELETE", "GET"] {
        rest.call(method, &format!("/connections/{id}"), 404).await;
    }
    assert_eq!(rest.get("/connections/count").await["count"], 0);
    eventually("the table is empty", Duration::from_secs(10), async || {
        rest.stack.rows().await.is_empty().then_some(())
    })
    .await;
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_socket_is_gone_is_removed_once_it_cannot_be_opening() {
    let rest = Rest::start().await;
    let mut old = crate::registry::connection("BFHPhfCWIAMCKlQ=", Some("alice"), &["t"]);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    old.connected_at = now - 61_000;
    rest.stack.registry().connect(&old).await.unwrap();
    let shown = rest.get(&format!("/connections/{}", old.id)).await;
    assert_eq!((&shown["open"], shown.get("lastActiveAt")), (&json!(false), None));
    rest.call("DELETE", &format!("/connections/{}", old.id), 204).await;
    assert!(rest.stack.rows().await.is_empty());

    let young = made_at(now, old);
    rest.stack.registry().connect(&young).await.unwrap();
    let problem = rest.call("DELETE", &format!("/connections/{}", young.id), 409).await;
    assert_eq!(problem["type"], "urn:tidings:problem:still-opening");
    assert!(rest.stack.registry().connection(&young.id).await.unwrap().is_some());
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_audience_is_counted_exactly_or_estimated_from_one_page() {
    let rest = Rest::start().await;
    let registry = rest.stack.registry();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    let connect = |index: usize| {
        let mut one = crate::registry::connection(&format!("member{index}"), None, &["big"]);
        one.connected_at = now;
        let registry = registry.clone();
        async move { registry.connect(&one).await.unwrap() }
    };
    for chunk in (0..1_500).collect::<Vec<_>>().chunks(50) {
        futures_util::future::join_all(chunk.iter().map(|index| connect(*index))).await;
    }
    for filter in ["", "topic=big&"] {
        let exact = rest.get(&format!("/connections/count?{filter}estimate=false")).await;
        assert_eq!(exact, json!({"count": 1_500, "estimated": false}));
        let estimate = rest.get(&format!("/connections/count?{filter}estimate=true")).await;
        let count = estimate["count"].as_u64().unwrap();
        assert!(estimate["estimated"] == true && (1_300..1_700).contains(&count), "{estimate}");
    }
    rest.stack.stop().await;
}
