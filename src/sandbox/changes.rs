//! Change queries: the newest version, deletions, changed natural keys.

use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::{Body, json as json_answer};
use super::definitions::pascal;
use super::problem::Problem;
use super::read::{Reader, wants_snapshot};
use super::store::{Tracked, dashed, id_text};

impl Reader<'_> {
    /// `GET /changeQueries/v1/availableChangeVersions`.
    pub(super) fn available(&self) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        self.tables(&state)?;
        let newest = match wants_snapshot(self.headers) {
            true => state.snapshot_version,
            false => state.change_version,
        };
        let body = match self.release.tracks_in_pascal_case() {
            true => json!({"OldestChangeVersion": 0, "NewestChangeVersion": newest}),
            false => json!({"oldestChangeVersion": 0, "newestChangeVersion": newest}),
        };
        Ok(json_answer(StatusCode::OK, &body))
    }

    /// `GET /data/v3/{namespace}/{resource}/deletes`.
    pub(super) fn deletes(&self, endpoint: &str) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        let deletes = self.table(&state, endpoint)?.deletes();
        let tells_keys = self.release.tracks_keys();
        self.tracked(deletes, tells_keys, |one| {
            let key = ("keyValues", one.old_key.clone());
            self.entry(one, tells_keys.then_some(key))
        })
    }

    /// `GET /data/v3/{namespace}/{resource}/keyChanges`: per item the first and the last key of the window.
    pub(super) fn key_changes(&self, endpoint: &str) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        let table = self.table(&state, endpoint)?;
        let (from, to) = self.query.change_versions()?;
        let mut merged: Vec<Tracked> = Vec::new();
        for change in table.key_changes() {
            if !self.release.tracks_key_changes() || !(from..=to).contains(&change.change_version) {
                continue;
            }
            match merged.iter_mut().find(|earlier| earlier.id == change.id) {
                Some(earlier) => {
                    earlier.change_version = change.change_version;
                    earlier.new_key.clone_from(&change.new_key);
                }
                None => merged.push(change.clone()),
            }
        }
        merged.sort_by_key(|one| one.change_version);
        self.tracked(merged.iter(), true, |one| {
            let new_key = one.new_key.clone().unwrap_or_default();
            self.entry(
                one,
                [
                    ("oldKeyValues", one.old_key.clone()),
                    ("newKeyValues", new_key),
                ],
            )
        })
    }

    /// What happened to one item, named as this release names it.
    fn entry(&self, one: &Tracked, keys: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let old = self.release.tracks_in_pascal_case();
        let name = |name: &str| if old { pascal(name) } else { name.to_owned() };
        let id = match old {
            true => dashed(&id_text(one.id)).to_uppercase(),
            false => id_text(one.id),
        };
        let mut entry = serde_json::Map::new();
        entry.insert(name("id"), id.into());
        entry.insert(name("changeVersion"), one.change_version.into());
        entry.extend(keys.into_iter().map(|(key, value)| (name(key), value)));
        entry.into()
    }

    fn tracked<'t>(
        &self,
        all: impl Iterator<Item = &'t Tracked>,
        counts: bool,
        show: impl Fn(&Tracked) -> Value,
    ) -> Result<Response<Body>, Problem> {
        let window = self.query.window(self.limits)?;
        let (from, to) = self.query.change_versions()?;
        let wants_total = self.query.total_count()?;
        let mut faults = self.district.faults();
        let faults = &mut faults.faults;
        if faults.no_change_queries {
            return Err(super::read::no_item());
        }
        let chosen: Vec<_> = all
            .filter(|one| (from..=to).contains(&one.change_version))
            .collect();
        let page: Vec<_> = chosen
            .iter()
            .skip(window.offset)
            .take(faults.page_size(window.limit))
            .map(|one| show(one))
            .collect();
        let mut answer = json_answer(StatusCode::OK, &page.into());
        let total = (wants_total && counts).then_some(chosen.len());
        self.count(total, faults, &mut answer);
        Ok(answer)
    }
}
