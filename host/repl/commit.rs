//! What was tried on the copy: shown as a plan, tried otherwise on a copy of the copy, and made on the cluster itself.

use std::path::Path;
use std::rc::Rc;

use super::loaded::Loaded;
use super::pending::{self, Made, Pending};
use super::session::Session;
use super::{net, save};
use crate::base::{Error, Result};
use crate::cluster::{Access, Cluster};
use crate::primitives::registry::plural;
use crate::report::{Paint, escape};
use crate::run::State;

/// A copy that was put aside, with what was called on it.
pub(super) struct Aside {
    cluster: Cluster,
    calls: Vec<Made>,
    /// `state` of the runbook that was loaded.
    state: Option<State>,
}

impl Session {
    /// Shows the pending calls as a plan.
    pub(super) fn show_plan(&self) {
        let calls = self.pending.borrow().calls();
        match calls.is_empty() {
            true => self.screen.talk("nothing is pending: no call on this copy would do anything on the cluster itself"),
            false => self.screen.data(&self.planned(&calls, self.screen.paint)),
        }
    }

    fn planned(&self, calls: &[Made], paint: Paint) -> String {
        let copy = self.cluster.borrow().clone();
        copy.looks_back_on(&self.runtime);
        pending::plan(calls, &copy, self.began.get(), copy.moved_since(), paint)
    }

    /// Shows what the calls since the last fork have changed altogether.
    pub(super) fn diff(&self) -> Result<()> {
        if self.live.borrow().is_some() {
            let hint = format!("`lockgate report {}` shows what was written", self.real.run());
            return Err(Error::usage("there is no copy to compare: calls act on the cluster itself").hint(hint));
        }
        let calls = self.pending.borrow().calls();
        let (since, earlier) = match self.forks.borrow().last() {
            Some(aside) => ("since the last `:fork`", aside.calls.len()),
            None => ("since the copy was made", 0),
        };
        let text = net::diff(calls.get(earlier..).unwrap_or_default(), self.cluster.borrow().clock().now(), self.screen.paint);
        match text.is_empty() {
            true => self.screen.talk(&format!("nothing that was called {since} makes a difference")),
            false => self.screen.data(text.trim_end()),
        }
        Ok(())
    }

    /// Writes the pending calls down as a runbook.
    pub(super) fn save(&self, file: &str) -> Result<()> {
        let calls = self.pending.borrow().calls();
        save::save(&calls, Path::new(file))?;
        let file = escape::line(file);
        self.screen.talk(&format!("saved: {} in `{file}`; `lockgate check {file}`, `lockgate plan ./{file}`", plural(calls.len(), "call")));
        Ok(())
    }

    /// Puts the copy aside and goes on on a copy of it.
    pub(super) fn fork(&self) -> Result<()> {
        if self.live.borrow().is_some() {
            return Err(Error::usage("there is no copy to fork: calls act on the cluster itself").hint("`:live off` goes back to a copy"));
        }
        let (cluster, calls) = (self.cluster.borrow().clone(), self.pending.borrow().calls());
        let copy = cluster.planning();
        copy.set_access(Access::ReadWrite);
        let state = self.loaded.borrow().as_ref().map(Loaded::state);
        self.forks.borrow_mut().push(Aside { cluster, calls: calls.clone(), state });
        *self.pending.borrow_mut() = Pending::of(calls);
        self.act_on(copy);
        self.screen.talk("fork: from here on another copy; `:undo` goes back to this point");
        Ok(())
    }

    /// Goes back to the last fork, or to the cluster as it is.
    pub(super) fn undo(&self) -> Result<()> {
        if self.live.borrow().is_some() {
            let hint = format!("`:live off`, then `lockgate rollback {}`", self.real.run());
            return Err(Error::usage("what was typed on the cluster itself is taken back by a rollback").hint(hint));
        }
        let dropped = self.pending.borrow().calls().len();
        let aside = self.forks.borrow_mut().pop();
        let (place, kept) = match aside {
            Some(Aside { cluster, calls, state }) => {
                let kept = calls.len();
                if let (Some(loaded), Some(state)) = (&*self.loaded.borrow(), state) {
                    loaded.goes_back(state);
                }
                *self.pending.borrow_mut() = Pending::of(calls);
                let namespace = self.cluster.borrow().namespace().to_owned();
                self.act_on(cluster.with_namespace(&namespace));
                ("the last fork", kept)
            }
            None => {
                self.loaded.borrow().iter().for_each(Loaded::goes_back_to_copy);
                self.copies_anew();
                ("the cluster as it is", 0)
            }
        };
        self.screen.talk(&format!("back at {place}: {} dropped, {kept} pending", plural(dropped.saturating_sub(kept), "call")));
        Ok(())
    }

    /// Makes the pending calls on the cluster itself, in a run of their own, after one question.
    pub(super) fn commit(&self) -> Result<()> {
        if self.live.borrow().is_some() {
            return Err(Error::usage("nothing is pending: calls act on the cluster itself as soon as they are typed"));
        }
        let calls = self.pending.borrow().calls();
        if calls.is_empty() {
            self.screen.talk("nothing is pending: no call on this copy would do anything on the cluster itself");
            return Ok(());
        }
        if let Some((made, error)) = calls.iter().find_map(|made| Some((made, made.error.as_ref()?))) {
            return Err(Error::usage(format!("`{}` failed on the copy after it had written: this plan would fail", made.title()))
                .cause(error.message.clone())
                .hint("`:undo` goes back to the last fork, or to the cluster as it is"));
        }
        self.screen.talk(&self.planned(&calls, self.screen.talk_paint));
        let name = self.real.label().name;
        let question = format!("Make {} on `{}` itself?", plural(calls.len(), "call"), escape::line(&name));
        if !self.consents(&question)? {
            self.screen.talk("not accepted: the calls stay pending");
            return Ok(());
        }
        let namespace = self.cluster.borrow().namespace().to_owned();
        self.begin_live()?;
        self.loaded.borrow().iter().for_each(Loaded::goes_back_to_copy);
        let result = self.make_all(&calls);
        let back = self.cluster.borrow().with_namespace(&namespace);
        self.act_on(back);
        self.dry();
        result
    }

    /// One call after the other, as far as they succeed.
    fn make_all(&self, calls: &[Made]) -> Result<()> {
        for (place, made) in calls.iter().enumerate() {
            let text = made.title();
            self.screen.talk(&format!("call {}/{}  {}", place + 1, calls.len(), escape::line(&text)));
            let there = self.cluster.borrow().with_namespace(&made.namespace);
            self.act_on(there);
            let again = made.again.clone();
            let result = match &*self.live.borrow() {
                Some(typed) => typed.line(&text, || again()),
                None => Err(Error::internal("no run is open for the pending calls")),
            };
            self.screen.rest();
            if let Err(error) = result {
                let left: Vec<String> = calls.iter().skip(place + 1).map(|made| format!("not made: {}", made.title())).collect();
                left.iter().for_each(|line| self.screen.talk(&escape::line(line)));
                return Err(error);
            }
        }
        Ok(())
    }

    /// A new copy of the cluster as it is, on which nothing is pending.
    pub(super) fn copies_anew(&self) {
        let copy = self.real.planning().with_namespace(self.cluster.borrow().namespace());
        copy.set_access(Access::ReadWrite);
        self.began.set(copy.clock().now());
        self.forks.borrow_mut().clear();
        *self.pending.borrow_mut() = Rc::default();
        self.act_on(copy);
    }
}
