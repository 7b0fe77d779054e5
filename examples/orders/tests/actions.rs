//! Actions: what they see of a client, and what they refuse. Without AWS and without a gateway.

use serde::de::IgnoredAny;
use serde_json::json;
use tidings::aws::Aws;
use tidings::permissions::Permissions;
use tidings::{Caller, ConnectionId, Context, UserId};

use orders::{App, Cancel, Order, Tables, cancel, menu, place};

/// A client as the authorizer lets it in, and an application whose tables are nowhere.
fn client(permissions: &str, member: bool) -> Context<App> {
    let tables = Tables {
        orders: "orders".to_owned(),
        customers: "customers".to_owned(),
    };
    let app = App::new(&Aws::local("http://127.0.0.1:9"), tables);
    let mut caller = Caller::anonymous(ConnectionId::parse("c").unwrap());
    caller.user = Some(UserId::parse("ada").unwrap());
    caller.permissions = Permissions::parse(permissions).unwrap();
    caller.claims.insert("name".to_owned(), "Ada".into());
    caller.claims.insert("member".to_owned(), member.into());
    Context::detached_for(app, caller)
}

fn order(order: &str, item: &str) -> Order {
    Order {
        order: order.to_owned(),
        item: item.to_owned(),
    }
}

#[tokio::test]
async fn the_menu_is_for_this_customer() {
    for (permissions, member, items) in [
        ("publish:orders/ada", true, 5),
        ("publish:orders/ada", false, 4),
        ("publish:orders/bob", false, 4),
    ] {
        let reply = menu(client(permissions, member), IgnoredAny).await.unwrap();
        let mut data = reply.data().unwrap().clone();
        let list = data["items"].take();
        assert_eq!(list.as_array().unwrap().len(), items);
        let may_order = permissions.ends_with("ada");
        let expected =
            json!({"customer": "ada", "name": "Ada", "may_order": may_order, "items": null});
        assert_eq!(data, expected);
    }
}

#[tokio::test]
async fn what_cannot_be_ordered_is_told_by_a_code() {
    for (permissions, order, code) in [
        ("", order("1", "Espresso"), "MayNotOrder"),
        ("publish:orders/bob", order("1", "Espresso"), "MayNotOrder"),
        ("publish:orders/ada", order("1", "Tea"), "NotOnTheMenu"),
        (
            "publish:orders/ada",
            order("1", "Roast of the week"),
            "MembersOnly",
        ),
        ("publish:orders/ada", order("", "Espresso"), "BadRequest"),
        ("publish:orders/ada", order("a/b", "Espresso"), "BadRequest"),
    ] {
        let error = place(client(permissions, false), order).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
    let order = Cancel {
        order: "1".to_owned(),
    };
    let error = cancel(client("", true), order).await.unwrap_err();
    assert_eq!(error.code(), Some("MayNotOrder"));
}

#[tokio::test]
async fn who_has_no_name_is_no_customer() {
    let error = menu(Context::detached(()), IgnoredAny).await.unwrap_err();
    assert_eq!(error.code(), Some("NotACustomer"));
}
