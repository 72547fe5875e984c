//! Collections that move while they are read: what lived throughout is there, nothing comes twice, or the
//! call is an error.
//!
//! Each case follows from its seed. `SOAK=1` tries 10,000 of them, `MOVING_SEEDS=42..43` only these.

use std::collections::{HashMap, HashSet};

use fastrand::Rng;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Miscount, Mutation, Sandbox, Schedule};
use polars_edfi::{
    BatchOptions, ChangeOptions, EdFiClient, GetAllOptions, Paging, ScanOptions, SchemaChoice,
    Since,
};
use serde_json::Value;

use crate::sandbox::http;
use crate::support::{BAD, STUDENTS, own, soon, words};

/// Cases that once lost a record or did not end.
const FOUND: [u64; 8] = [292, 357, 440, 849, 1029, 3226, 5062, 5616];
/// How many cases run at once.
const AT_ONCE: usize = 4;

/// A way of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    GetAll(Paging),
    Scan(Paging),
    /// The records of a window of change versions.
    Window(Paging),
    Deletes,
    KeyChanges,
    /// One window after another, the last one when all is quiet.
    Changes,
}

#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    way: Way,
    release: &'static str,
    students: usize,
    limit: usize,
    workers: usize,
    /// Mutations for each request.
    speed: f64,
    faults: Faults,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut pick = |most: usize| random.usize(..most);
        let cursor = pick(2) == 0;
        let paging = match pick(3) {
            0 if cursor => Paging::Cursor,
            1 => Paging::Offset,
            _ => Paging::Auto,
        };
        let way = match pick(10) {
            0..3 => Way::GetAll(paging),
            3..6 => Way::Scan(paging),
            6 => Way::Window(paging),
            7 => Way::Deletes,
            8 => Way::KeyChanges,
            _ => Way::Changes,
        };
        let students = [0, 1, 7, 20, 45][pick(5)];
        let (no_total_count, miscount) = match pick(6) {
            0 => (true, None),
            1 => (false, Some(Miscount::High(1 + pick(5)))),
            2 => (false, Some(Miscount::Low(1 + pick(students + 5)))),
            3 => (false, Some(Miscount::AtMost(1 + pick(students + 5)))),
            _ => (false, None),
        };
        let page_cap = (pick(5) == 0).then(|| 2 + pick(5));
        let short_pages = match pick(5) {
            0 => (0..pick(4)).map(|_| pick(3)).collect(),
            _ => Vec::new(),
        };
        // A count that is too low, beside a short page that ends exactly there, is a lie that nobody
        // can see.
        let (page_cap, short_pages) = match miscount {
            Some(Miscount::AtMost(_) | Miscount::Low(_)) => (None, Vec::new()),
            _ => (page_cap, short_pages),
        };
        let limit = [1, 2, 3, 5, 10, 50][pick(6)];
        // So is a page of one record or none where no count says that there are more.
        let page_size = limit.max(2).min(page_cap.unwrap_or(limit.max(2)));
        let short_pages = match !no_total_count || page_size >= 4 {
            true => short_pages,
            false => Vec::new(),
        };
        Self {
            seed,
            way,
            release: if cursor { "7.3" } else { "7.1" },
            students,
            limit,
            workers: [1, 2, 3, 8][pick(4)],
            speed: [0.0, 0.2, 0.5, 1.0, 2.0][pick(5)],
            faults: Faults {
                no_total_count,
                miscount,
                page_cap,
                short_pages,
                ..Faults::default()
            },
        }
    }

    /// Whether there is no reason for an error: nothing moves, and no count says that records are missing.
    fn must_succeed(&self) -> bool {
        self.speed == 0.0 && !matches!(self.faults.miscount, Some(Miscount::High(_)))
    }

    fn start(&self) -> Sandbox {
        let builder = Sandbox::builder().districts([BAD]).release(self.release);
        let builder = builder.seed(1_000_000 + self.seed).records(4);
        let ods = builder.start().expect("a sandbox");
        let mutate = |mutation| {
            ods.mutate(BAD, STUDENTS, &mutation).expect("students");
        };
        // Some of everything, and more than there is at last.
        mutate(Mutation::Insert(self.students + 25));
        for place in 0..10 {
            mutate(Mutation::Rekey(3 * place));
            mutate(Mutation::Edit(2 * place));
        }
        for place in 0..26 {
            mutate(Mutation::Delete(5 * place));
        }
        ods
    }

    /// The same on a thread of its own: others wait for answers meanwhile, and not for ever.
    async fn started(&self) -> Sandbox {
        let case = self.clone();
        let starting = tokio::task::spawn_blocking(move || case.start());
        starting.await.expect("a sandbox")
    }

    fn read(&self, paging: Paging) -> GetAllOptions {
        GetAllOptions {
            batch: BatchOptions {
                endpoint: Some(STUDENTS.into()),
                workers: self.workers,
                ..BatchOptions::default()
            },
            limit: self.limit,
            paging,
            schema: SchemaChoice::Infer,
            ..GetAllOptions::default()
        }
    }

    fn window(&self) -> ChangeOptions {
        ChangeOptions {
            limit: self.limit,
            workers: self.workers,
            ..ChangeOptions::default()
        }
    }
}

/// What stands in a frame: its ids, and what tells one thing from another.
struct Read {
    entries: Vec<String>,
}

impl Read {
    fn of(df: &DataFrame, with_version: bool) -> Self {
        if df.height() == 0 {
            return Self {
                entries: Vec::new(),
            };
        }
        let mut entries = words(df, "id");
        if with_version {
            let versions = df.column("changeVersion").expect("a column");
            let versions = versions.i64().expect("Int64").iter();
            for (entry, version) in entries.iter_mut().zip(versions) {
                *entry += &format!(" at {}", version.expect("a version"));
            }
        }
        Self { entries }
    }
}

/// A district, asked without the library.
struct Quiet<'a> {
    ods: &'a Sandbox,
    http: reqwest::Client,
    token: String,
}

impl Quiet<'_> {
    async fn get(&self, path: &str) -> Value {
        let url = self.ods.district_url(BAD).expect("a district");
        let request = self
            .http
            .get(format!("{url}/{path}"))
            .header("authorization", format!("Bearer {}", self.token));
        let text = soon(async { request.send().await?.text().await }).await;
        serde_json::from_str(&text.expect("an answer")).expect("JSON")
    }

    /// Entries that a read can have, and the natural key of each.
    async fn list(&self, path: &str, with_version: bool) -> HashMap<String, String> {
        let list = self.get(&format!("data/v3/{path}")).await;
        let list = list.as_array().expect("a list").clone();
        list.iter()
            .map(|one| {
                let id = one["id"].as_str().expect("an id");
                let entry = match with_version {
                    true => format!("{id} at {}", one["changeVersion"]),
                    false => id.to_owned(),
                };
                (entry, one["studentUniqueId"].to_string())
            })
            .collect()
    }

    async fn newest(&self) -> i64 {
        let path = "changeQueries/v1/availableChangeVersions";
        let versions = self.get(path).await;
        versions["newestChangeVersion"].as_i64().expect("a number")
    }
}

/// What is wrong with a read, if anything is.
fn verdict(read: &Read, lasting: impl IntoIterator<Item = String>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for entry in &read.entries {
        if !seen.insert(entry.clone()) {
            return Err(format!("{entry} came twice"));
        }
    }
    for entry in lasting {
        if !seen.contains(&entry) {
            return Err(format!("{entry} is missing"));
        }
    }
    Ok(())
}

/// Reads the case; `Ok(false)` where the read was an error, `Err` where it was wrong.
async fn run(case: &Case, http: &reqwest::Client) -> Result<bool, String> {
    let ods = case.started().await;
    let client = own(&ods, BAD).build().expect("a client");
    let token = soon(client.fetch_token()).await.expect("a token");
    let quiet = Quiet {
        ods: &ods,
        http: http.clone(),
        token: token.token.reveal().to_owned(),
    };
    let newest = quiet.newest().await;
    let (since, until) = (newest / 3, newest);
    let schedule =
        Schedule::random(case.seed, case.speed).until(if case.students > 20 { 60 } else { 20 });
    let schedule = match case.workers {
        1 => schedule,
        _ => schedule.shuffle(case.seed),
    };
    let begin = || {
        ods.set_faults(BAD, case.faults.clone());
        ods.set_schedule(BAD, STUDENTS, schedule.clone());
    };
    let end = || {
        ods.set_faults(BAD, Faults::default());
        ods.set_schedule(BAD, STUDENTS, Schedule::default());
    };

    if case.way == Way::Changes {
        begin();
        let options = case.read(Paging::Offset);
        let first = soon(client.changes(STUDENTS, Some(since), &options)).await;
        end();
        let Ok(first) = first else { return Ok(false) };
        // What was begun is committed with the requests that follow.
        for _ in 0..4 {
            quiet.list(STUDENTS, false).await;
        }
        let call = client.changes(STUDENTS, Some(first.next_version), &options);
        let second = soon(call).await.map_err(|error| error.to_string())?;
        for (tracked, path) in [(false, ""), (true, "/deletes")] {
            let path = format!("{STUDENTS}{path}?minChangeVersion={since}");
            let told = |changes: &polars_edfi::Changes| match tracked {
                true => Read::of(&changes.deletes, true),
                false => Read::of(&changes.records, false),
            };
            let (first, second) = (told(&first), told(&second));
            verdict(&first, [])?;
            verdict(&second, [])?;
            let lasting = quiet.list(&path, tracked).await;
            let mut entries = first.entries;
            entries.extend(second.entries);
            entries.sort();
            entries.dedup();
            verdict(&Read { entries }, lasting.into_keys())?;
        }
        return Ok(true);
    }

    let (path, with_version) = match case.way {
        Way::Window(_) => {
            let path = format!("{STUDENTS}?minChangeVersion={since}&maxChangeVersion={until}");
            (path, false)
        }
        Way::Deletes => (format!("{STUDENTS}/deletes"), true),
        Way::KeyChanges => (format!("{STUDENTS}/keyChanges"), true),
        _ => (STUDENTS.to_owned(), false),
    };
    let before = quiet.list(&path, with_version).await;
    begin();
    let read = soon(frame(case, &client, since, until)).await;
    end();
    let after = quiet.list(&path, with_version).await;
    let read = match read {
        Ok(df) => Read::of(&df, with_version),
        Err(error) if case.must_succeed() => return Err(error.to_string()),
        Err(_) => return Ok(false),
    };
    let lasting = before
        .into_iter()
        .filter(|(entry, key)| after.get(entry) == Some(key))
        .map(|(entry, _)| entry);
    verdict(&read, lasting)?;
    Ok(true)
}

/// What the read gives.
async fn frame(
    case: &Case,
    client: &EdFiClient,
    since: i64,
    until: i64,
) -> polars_edfi::Result<DataFrame> {
    match case.way {
        Way::GetAll(paging) => client.get_all(&case.read(paging)).await,
        Way::Window(paging) => {
            let options = GetAllOptions {
                min_change_version: Some(since),
                max_change_version: Some(until),
                ..case.read(paging)
            };
            client.get_all(&options).await
        }
        Way::Scan(paging) => {
            let options = ScanOptions {
                read: case.read(paging),
                columns: Some(vec!["id".into()]),
                ..ScanOptions::default()
            };
            let scan = match client.scan(STUDENTS, &options).await {
                // A collection that is empty at first has no columns to choose from.
                Err(polars_edfi::Error::ColumnNotFound(_)) => return Ok(DataFrame::empty()),
                scan => scan?,
            };
            let pages: Vec<DataFrame> = scan.pages()?.try_collect().await?;
            let mut all = DataFrame::empty();
            for page in pages.iter().filter(|page| page.height() > 0) {
                all = match all.height() {
                    0 => page.clone(),
                    _ => all.vstack(page)?,
                };
            }
            Ok(all)
        }
        Way::Deletes => client.deletes(STUDENTS, &case.window()).await,
        Way::KeyChanges => client.key_changes(STUDENTS, &case.window()).await,
        Way::Changes => unreachable!("read window by window"),
    }
}

/// Cases wait for answers most of their time: some of them at once.
fn side_by_side<T, F: Future<Output = T>>(
    seeds: impl IntoIterator<Item = u64>,
    case: impl Fn(u64) -> F,
) -> impl Stream<Item = T> + Unpin {
    let cases = seeds.into_iter().map(case).collect::<Vec<_>>();
    Box::pin(stream::iter(cases).buffer_unordered(AT_ONCE))
}

#[tokio::test]
async fn what_lives_throughout_is_there_once_or_the_call_is_an_error() {
    let seeds: Vec<u64> = match (std::env::var("MOVING_SEEDS"), std::env::var("SOAK")) {
        (Ok(seeds), _) => {
            let (from, to) = seeds.split_once("..").expect("from..to");
            (from.parse().expect("a number")..to.parse().expect("a number")).collect()
        }
        (_, Ok(_)) => (0..10_000).collect(),
        _ => (0..150).chain(FOUND).collect(),
    };
    let http = &http();
    let (mut wrong, mut moving, mut read) = (Vec::new(), 0, 0);
    let mut outcomes = side_by_side(seeds, move |seed| async move {
        let case = Case::new(seed);
        let outcome = run(&case, http).await;
        (case, outcome)
    });
    while let Some((case, outcome)) = outcomes.next().await {
        if case.speed > 0.0 {
            moving += 1;
            read += usize::from(outcome == Ok(true));
        }
        if let Err(text) = outcome {
            wrong.push(format!("seed {}: {text}: {case:?}", case.seed));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Errors are allowed, not the rule.
    assert!(moving < 5 || read * 2 > moving, "{read} of {moving}");
}

/// One window after another while writes are committed late, and a last one when all is quiet. Gives the
/// ids and the deletions that none of them told.
async fn untold(seed: u64, overlap: i64, http: &reqwest::Client) -> usize {
    let case = Case {
        speed: 0.0,
        faults: Faults::default(),
        ..Case::new(seed)
    };
    let ods = case.started().await;
    let client = own(&ods, BAD).build().expect("a client");
    let token = soon(client.fetch_token()).await.expect("a token");
    let quiet = Quiet {
        ods: &ods,
        http: http.clone(),
        token: token.token.reveal().to_owned(),
    };
    let since = quiet.newest().await + 1;
    let mut random = Rng::with_seed(seed);
    let mut schedule = Schedule::new();
    for request in 1..60 {
        let item = random.usize(..);
        let mutation = match random.u8(..3) {
            0 => Mutation::Insert(1),
            1 => Mutation::Edit(item),
            _ => Mutation::Delete(item),
        };
        schedule = match random.u8(..3) {
            0 => schedule.before(request, mutation),
            _ => schedule.before(request, mutation.late(random.usize(1..9))),
        };
    }
    ods.set_schedule(BAD, STUDENTS, schedule);
    let options = case.read(Paging::Offset);
    let mut next = since;
    let (mut records, mut deletes) = (HashSet::new(), HashSet::new());
    for window in 0..6 {
        // Others read meanwhile, and so the collection moves although a window may be empty.
        for _ in 0..3 {
            quiet.list(STUDENTS, false).await;
        }
        if window == 5 {
            // What was begun is committed with the requests that follow.
            ods.set_schedule(BAD, STUDENTS, Schedule::default());
            for _ in 0..10 {
                quiet.list(STUDENTS, false).await;
            }
        }
        let since = Since::from(Some(next)).with_overlap(overlap);
        let call = client.changes(STUDENTS, since, &options);
        let Ok(changes) = soon(call).await else {
            continue;
        };
        next = changes.next_version;
        records.extend(Read::of(&changes.records, false).entries);
        deletes.extend(Read::of(&changes.deletes, true).entries);
    }
    let path = format!("{STUDENTS}?minChangeVersion={since}");
    let there = quiet.list(&path, false).await;
    let path = format!("{STUDENTS}/deletes?minChangeVersion={since}");
    let gone = quiet.list(&path, true).await;
    let untold = there.keys().filter(|id| !records.contains(*id)).count();
    // A deleted item that is there again is among the records.
    let again = |entry: &str| {
        entry
            .split_once(' ')
            .is_some_and(|(id, _)| records.contains(id))
    };
    let deletions = gone.keys().filter(|one| !deletes.contains(*one));
    untold + deletions.filter(|one| !again(one)).count()
}

#[tokio::test]
async fn windows_that_overlap_lose_no_late_commit() {
    let seeds = if std::env::var("SOAK").is_ok() {
        500
    } else {
        15
    };
    let http = &http();
    let mut lost = 0;
    let mut counts = side_by_side(0..seeds, move |seed| async move {
        // A write is late by a few requests, and as many versions.
        assert_eq!(untold(seed, 60, http).await, 0, "seed {seed}");
        untold(seed, 0, http).await
    });
    while let Some(count) = counts.next().await {
        lost += count;
    }
    // Without an overlap they are lost: that is what it is for.
    assert!(lost > 0);
}

#[tokio::test]
async fn windows_of_a_collection_that_moves_are_whole() {
    let seeds = if std::env::var("SOAK").is_ok() {
        300
    } else {
        8
    };
    let http = &http();
    let mut cases = side_by_side(0..seeds, move |seed| async move {
        let mut random = Rng::with_seed(seed);
        let paging = Paging::Windows;
        let case = Case {
            way: [Way::GetAll(paging), Way::Scan(paging), Way::Window(paging)][random.usize(..3)],
            release: ["7.1", "7.3"][random.usize(..2)],
            students: [190, 260, 450][random.usize(..3)],
            limit: 2,
            workers: [1, 3, 8][random.usize(..3)],
            speed: [0.0, 0.05, 0.2][random.usize(..3)],
            faults: Faults::default(),
            ..Case::new(seed)
        };
        let outcome = run(&case, http).await;
        assert!(outcome.is_ok(), "seed {seed}: {outcome:?}: {case:?}");
    });
    while cases.next().await.is_some() {}
}
