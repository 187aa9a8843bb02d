/// The methods that both adapters share. Each has the fields `inner` and `clock`.
macro_rules! accessors {
    () => {
        /// Returns the idle time that was set.
        #[inline]
        pub fn idle(&self) -> Duration {
            self.clock.idle()
        }

        /// Changes the idle time; a running idle clock starts from zero at the next poll.
        ///
        /// It does not wake the task. A zero duration turns the adapter off until another is set.
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

        /// Returns a mutable reference to the inner stream; an item taken here does not stop the idle clock.
        #[inline]
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Returns a pinned mutable reference to the inner stream; an item taken here does not stop the idle clock.
        #[inline]
        pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
            self.project().inner
        }

        /// Returns the inner stream. No item is lost, since the adapter holds none.
        #[inline]
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}

pub(crate) use accessors;
