//! What a test does to the world while it runs. None of it takes a turn, but for [`Net::stop`]: what follows from it
//! comes with the next run.

use std::time::Duration;

use machine::Machine;
use rand::Rng;

use crate::{
    Net, NodeId, State, Weather,
    trace::{Fault, Note},
    traffic::Arrival,
};

impl Net {
    /// The weather from now on, wherever a path has none of its own. What is under way is past it.
    pub fn set_weather(&mut self, weather: Weather) {
        self.note_fault(Fault::Weather(weather));
        self.weather = weather;
    }

    /// The weather from one node to another, in this direction, until [`Net::clear_up`].
    pub fn set_path_weather(&mut self, from: NodeId, to: NodeId, weather: Weather) {
        self.note_fault(Fault::PathWeather(from, to, weather));
        self.paths.entry((from, to)).or_default().weather = Some(weather);
    }

    /// Loses all that one node sends to another from now on, in this direction. What is under way still arrives.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.note_fault(Fault::Cut(from, to));
        self.paths.entry((from, to)).or_default().cut = true;
    }

    /// Mends the path from one node to another, in this direction.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        self.note_fault(Fault::Mended(from, to));
        self.paths.entry((from, to)).or_default().cut = false;
    }

    /// Cuts both directions between two nodes.
    pub fn partition(&mut self, one: NodeId, other: NodeId) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Mends both directions between two nodes.
    pub fn heal(&mut self, one: NodeId, other: NodeId) {
        self.mend(one, other);
        self.mend(other, one);
    }

    /// Ends the bad times: calm weather everywhere, all paths mended, all paused nodes up. Who was killed stays so, and
    /// clocks that are wrong stay wrong.
    pub fn clear_up(&mut self) {
        self.note_fault(Fault::ClearedUp);
        self.weather = Weather::calm();
        self.paths.clear();
        for id in self.nodes.ids() {
            self.resume(id);
        }
    }

    /// Stops a node that is up in its tracks, as SIGSTOP does: datagrams wait at its sockets as far as there is room.
    pub fn pause(&mut self, id: NodeId) {
        if self.nodes[id].state == State::Up {
            self.note_fault(Fault::Paused(id));
            self.nodes[id].state = State::Paused;
            self.nodes.set_turn(id, crate::NEVER);
        }
    }

    /// Lets a paused node go on. It learns what its sockets have dropped and takes what waits there; whether a deadline
    /// that has passed comes before that or after it is left to chance.
    pub fn resume(&mut self, id: NodeId) {
        if self.nodes[id].state != State::Paused {
            return;
        }
        self.note_fault(Fault::Resumed(id));
        self.nodes[id].resume();
        // At one moment, datagrams come before deadlines.
        let waiting_until = if self.chance.random() { self.now } else { self.now + 1 };
        for slot in self.nodes[id].take_waiting() {
            self.traffic.schedule(waiting_until, Arrival::Datagram(slot));
        }
        self.nodes.set_turn(id, self.now);
    }

    /// How many datagrams may wait at each socket of a node while it is paused.
    pub fn set_socket_room(&mut self, id: NodeId, datagrams: usize) {
        for socket in &mut self.nodes[id].sockets {
            socket.waiting_max = datagrams;
        }
    }

    /// Ends a node's process at once, as SIGKILL does. What it has sent and written stays, the rest of its input goes.
    pub fn kill(&mut self, id: NodeId) {
        if matches!(self.nodes[id].state, State::Up | State::Paused) {
            self.note_fault(Fault::Killed(id));
            self.close(id, State::Killed);
        }
    }

    /// Starts a machine in the place of a node's old one, which is killed if it still runs: at the same addresses, with
    /// empty sockets, the clock since start at zero and no input.
    pub fn restart<M: Machine + 'static>(&mut self, id: NodeId, machine: M) {
        self.kill(id);
        self.note_fault(Fault::Restarted(id));
        self.nodes[id].restart(Box::new(machine), self.now);
        self.note_added::<M>(id);
        self.wake_if_up(id);
    }

    /// Tells a node that is up to end, as an operator does; its last words go out, and its sockets are closed.
    pub fn stop(&mut self, id: NodeId) {
        if self.nodes[id].state == State::Up {
            self.note_fault(Fault::Stopped(id));
            let now = self.clock(id);
            self.nodes[id].machine.handle_stop(now);
            self.settle(id, now);
            self.close(id, State::Done);
        }
    }

    /// Sets a node's wall clock, backwards too; its clock since start goes on.
    pub fn set_wall_clock(&mut self, id: NodeId, since_epoch: Duration) {
        self.note_fault(Fault::WallClock(id, since_epoch));
        self.nodes[id].clock.set_wall(self.now, since_epoch);
    }

    /// Lets both clocks of a node run at this rate from now on: 1,000 is right, 1,100 gains six minutes an hour.
    ///
    /// # Panics
    /// At a rate of 0.
    pub fn set_clock_rate(&mut self, id: NodeId, permille: u16) {
        assert!(permille > 0, "a clock that stands is no clock");
        self.note_fault(Fault::ClockRate(id, permille));
        self.nodes[id].clock.set_rate(self.now, permille);
        self.wake_if_up(id);
    }

    fn note_fault(&mut self, fault: Fault) {
        self.trace.note(self.now, &Note::Fault(fault));
    }
}
