//! Collections that move while they are read, and what an ODS tells of it afterwards.

use polars_edfi::sandbox::{Faults, Miscount, Mutation, Sandbox, Schedule};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Caller, STUDENTS, header, ids, json_of, send, small, start, student};

const DISTRICT: &str = "255901";

/// The natural keys of records.
fn keys(records: &[Value]) -> Vec<String> {
    records
        .iter()
        .map(|record| record["studentUniqueId"].to_string())
        .collect()
}

fn of_release(release: &str) -> Sandbox {
    small().release(release).start().expect("a sandbox")
}

async fn newest(caller: &Caller) -> u64 {
    let path = "changeQueries/v1/availableChangeVersions";
    let answer = json_of(send(caller.request(Method::GET, path)).await).await;
    answer["newestChangeVersion"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_schedule_is_tied_to_requests() {
    let ods = start();
    let caller = Caller::new(&ods, DISTRICT).await;
    let before = caller.list(STUDENTS).await;
    let schedule = Schedule::new()
        .after(1, Mutation::Delete(2))
        .before(3, Mutation::Insert(2))
        .after(3, Mutation::Edit(0));
    ods.set_schedule(DISTRICT, STUDENTS, schedule);
    // The other district, and single items, do not count.
    Caller::new(&ods, "255902").await.list(STUDENTS).await;
    caller.get(&format!("{STUDENTS}/{}", ids(&before)[0])).await;
    let first = caller.list(STUDENTS).await;
    assert_eq!(ids(&first), ids(&before));
    let second = caller.list(STUDENTS).await;
    let mut left = ids(&before);
    left.remove(2);
    assert_eq!(ids(&second), left);
    let third = caller.list(STUDENTS).await;
    assert_eq!(third[..9], second[..]);
    assert_eq!(third.len(), 11);
    let fourth = caller.list(STUDENTS).await;
    assert_eq!(ids(&fourth), ids(&third));
    assert_ne!(fourth[0]["_etag"], third[0]["_etag"]);
    assert_eq!(fourth[1..], third[1..]);
    let deletes = caller.list(&format!("{STUDENTS}/deletes")).await;
    assert_eq!(ids(&deletes), [ids(&before)[2]]);
}

#[tokio::test]
async fn new_items_come_last_or_where_their_key_belongs() {
    for (release, sorted) in [("7.2", true), ("7.3", false)] {
        let ods = of_release(release);
        let caller = Caller::new(&ods, DISTRICT).await;
        let before = keys(&caller.list(STUDENTS).await);
        caller.post(STUDENTS, &student("1")).await;
        let answer = caller.get(STUDENTS).await;
        assert_eq!(header(&answer, "next-page-token").is_some(), !sorted);
        let Value::Array(after) = json_of(answer).await else {
            panic!("no list")
        };
        let after = keys(&after);
        let place = if sorted { 0 } else { before.len() };
        assert_eq!(after[place], "\"1\"");
        assert_eq!(after.is_sorted(), sorted);
        let discovery = json_of(send(caller.http.get(&caller.root)).await).await;
        assert_eq!(discovery["version"], release);
        let partitions = caller.get(&format!("{STUDENTS}/partitions")).await;
        assert_eq!(partitions.status() == 404, sorted);
    }
    assert!(small().release("8.0").start().is_err());
    assert!(small().release("seven").start().is_err());
}

#[tokio::test]
async fn what_is_made_again_has_a_new_id_and_hides_its_delete() {
    let ods = start();
    let caller = Caller::new(&ods, DISTRICT).await;
    let deletes = format!("{STUDENTS}/deletes");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let created = caller.post(STUDENTS, &student("x")).await;
        assert_eq!(created.status(), 201);
        assert!(caller.list(&deletes).await.is_empty());
        let location = header(&created, "location").expect("a Location");
        let path = location.split_once("/data/v3/").expect("a path").1;
        assert!(!seen.contains(&path.to_owned()));
        caller.write(Method::DELETE, path, &json!({})).await;
        seen.push(path.to_owned());
        // All of its lives are told once nothing of that key lives.
        assert_eq!(caller.list(&deletes).await.len(), seen.len());
    }
    let students = caller.list(STUDENTS).await;
    ods.mutate(DISTRICT, STUDENTS, &Mutation::Recreate(0))
        .expect("a student");
    let after = caller.list(STUDENTS).await;
    assert_eq!(after.len(), students.len());
    assert!(!ids(&after).contains(&ids(&students)[0]));
    assert_eq!(caller.list(&deletes).await.len(), 3);
}

#[tokio::test]
async fn a_late_commit_is_counted_before_it_is_seen() {
    let ods = start();
    let caller = Caller::new(&ods, DISTRICT).await;
    let before = newest(&caller).await;
    let number = caller.list(STUDENTS).await.len();
    ods.mutate(DISTRICT, STUDENTS, &Mutation::Insert(1).late(2))
        .expect("a student");
    ods.mutate(DISTRICT, STUDENTS, &Mutation::Edit(0))
        .expect("a student");
    assert_eq!(newest(&caller).await, before + 2);
    let window = |from: u64| format!("{STUDENTS}?minChangeVersion={from}");
    let seen = caller.list(&window(before + 1)).await;
    assert_eq!(seen.len(), 1);
    // A window that begins behind the newest version misses it for ever.
    let late = caller.list(&window(before + 1)).await;
    assert_eq!(late.len(), 2);
    assert_eq!(newest(&caller).await, before + 2);
    assert_eq!(caller.list(&window(before + 2)).await.len(), 1);
    assert_eq!(caller.list(STUDENTS).await.len(), number + 1);
}

#[tokio::test]
async fn changed_keys_are_told() {
    let ods = start();
    let caller = Caller::new(&ods, DISTRICT).await;
    let before = caller.list(STUDENTS).await;
    for _ in 0..2 {
        ods.mutate(DISTRICT, STUDENTS, &Mutation::Rekey(1))
            .expect("a student");
    }
    let after = caller.list(STUDENTS).await;
    assert_eq!(ids(&after), ids(&before));
    let changes = caller.list(&format!("{STUDENTS}/keyChanges")).await;
    assert_eq!(changes.len(), 1);
    let key = |record: &Value| json!({"studentUniqueId": record["studentUniqueId"]});
    assert_eq!(changes[0]["oldKeyValues"], key(&before[1]));
    assert_eq!(changes[0]["newKeyValues"], key(&after[1]));
    assert_ne!(key(&after[1]), key(&before[1]));
}

#[tokio::test]
async fn counts_and_pages_can_be_wrong() {
    let ods = start();
    let caller = Caller::new(&ods, DISTRICT).await;
    for (miscount, told) in [
        (None, "10"),
        (Some(Miscount::High(5)), "15"),
        (Some(Miscount::Low(3)), "7"),
        (Some(Miscount::Low(30)), "0"),
        (Some(Miscount::AtMost(8)), "8"),
        (Some(Miscount::AtMost(80)), "10"),
    ] {
        let faults = Faults {
            miscount,
            ..Faults::default()
        };
        ods.set_faults(DISTRICT, faults);
        let page = caller.get(&format!("{STUDENTS}?totalCount=true")).await;
        assert_eq!(header(&page, "total-count").as_deref(), Some(told));
    }
    let faults = Faults {
        page_cap: Some(4),
        short_pages: vec![0, 1],
        ..Faults::default()
    };
    ods.set_faults(DISTRICT, faults);
    let mut sizes = Vec::new();
    for offset in [0, 4, 8, 0] {
        let path = format!("{STUDENTS}?offset={offset}&limit=9");
        sizes.push(caller.list(&path).await.len());
    }
    assert_eq!(sizes, [4, 3, 2, 4]);
}

#[tokio::test]
async fn old_releases_write_changes_their_own_way() {
    for (release, has_keys) in [("5.2", false), ("5.4", true)] {
        let ods = of_release(release);
        let caller = Caller::new(&ods, DISTRICT).await;
        let gone = caller.list(STUDENTS).await.remove(0);
        ods.mutate(DISTRICT, STUDENTS, &Mutation::Delete(0))
            .expect("a student");
        let answer = caller
            .get(&format!("{STUDENTS}/deletes?totalCount=true"))
            .await;
        assert_eq!(header(&answer, "total-count").is_some(), has_keys);
        let entry = json_of(answer).await[0].clone();
        let id = entry["Id"].as_str().expect("an id");
        assert_eq!(id.len(), 36);
        assert_eq!(id.replace('-', "").to_lowercase(), gone["id"]);
        assert_eq!(id, id.to_uppercase());
        assert!(entry["ChangeVersion"].is_u64());
        let key = json!({"studentUniqueId": gone["studentUniqueId"]});
        assert_eq!(entry["KeyValues"], if has_keys { key } else { Value::Null });
        let path = "changeQueries/v1/availableChangeVersions";
        let versions = json_of(send(caller.request(Method::GET, path)).await).await;
        assert!(versions["NewestChangeVersion"].is_u64(), "{versions}");
    }
}

#[tokio::test]
async fn without_a_limit_old_releases_give_25() {
    for (release, number) in [("5.4", 25), ("6.1", 40)] {
        let ods = of_release(release);
        let caller = Caller::new(&ods, DISTRICT).await;
        assert_eq!(caller.list(super::RESULTS).await.len(), number);
    }
}

#[tokio::test]
async fn the_same_seed_moves_the_same() {
    let mut outcomes = Vec::new();
    for seed in [1, 1, 2] {
        let ods = start();
        let caller = Caller::new(&ods, DISTRICT).await;
        let schedule = Schedule::random(seed, 2.0).until(8).shuffle(seed);
        ods.set_schedule(DISTRICT, STUDENTS, schedule);
        let mut pages = Vec::new();
        for _ in 0..10 {
            pages.push(keys(&caller.list(STUDENTS).await));
        }
        assert_eq!(pages[8], pages[9]);
        assert_ne!(pages[0], pages[8]);
        outcomes.push(pages);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_ne!(outcomes[0], outcomes[2]);
}
