/// Defines the methods that both adapters share. Both have the fields `inner` and `clock`.
macro_rules! accessors {
    () => {
        /// Returns the idle time.
        #[inline]
        pub fn idle(&self) -> Duration {
            self.clock.idle()
        }

        /// Changes the idle time. A running idle clock starts again from zero at the next poll.
        ///
        /// A keepalive or timeout that is due already is cancelled. This does not wake the task that polls
        /// the stream. [`Duration::ZERO`] turns the adapter off until you set another duration.
        #[doc(alias = "reset")]
        #[inline]
        pub fn set_idle(self: Pin<&mut Self>, idle: Duration) {
            self.project().clock.set_idle(idle);
        }

        /// Returns a reference to the inner stream.
        #[inline]
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// Returns a mutable reference to the inner stream. Taking an item from it does not stop the idle clock.
        #[inline]
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Returns a pinned reference to the inner stream. Taking an item from it does not stop the idle clock.
        #[inline]
        pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
            self.project().inner
        }

        /// Returns the inner stream. No item is lost, because the adapter buffers none.
        #[inline]
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}

pub(crate) use accessors;
