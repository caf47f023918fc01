//! Packet classification: which of many rules on addresses, protocol and ports matches, in a time that hardly depends on how
//! many there are.
//!
//! [`Acl`] is DPDK's `rte_acl`, a set of tries that are walked byte by byte for several keys at once. [`Acl4`] classifies by
//! IPv4 addresses, [`Acl6`] by IPv6 addresses.
//!
//! ```text
//!   AclRules (push one by one) ── build ──> Acl, never changed again ── classify(keys) ──> userdata of the best rule, or 0
//! ```
//!
//! # Memory and time of a build
//!
//! Two things stay in DPDK's memory while an [`Acl`] lives: the rules, 96 bytes each for IPv4 and 192 for IPv6, and the tries, at
//! most [`AclConfig::max_bytes`]. The build itself takes memory from the system for a while, and more the more the rules
//! overlap in several fields at once (ranges of ports crossed with nested prefixes on both sides): each rule may then copy parts
//! of the trie. The example `acl_measure` of the dataplane crate shows figures.

mod key;
mod rule;

use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use dpdk_sys as sys;
use thiserror::Error;

pub use key::{Key4, Key6, V4, V6};
pub use rule::{AclRule, Family, FieldOrder, Ipv4Prefix, Ipv6Prefix};

use crate::eal::Eal;
use crate::errno::Errno;

/// The highest priority of a rule; the lowest is 1. Of the rules that match a key the one with the highest wins.
pub const PRIORITY_MAX: u32 = sys::RTE_ACL_MAX_PRIORITY;

/// Keys that [`Acl::classify`] hands to DPDK at once; more are taken in several turns.
pub const BATCH: usize = 64;

/// Most rules of one [`AclRules`].
pub const RULES_MAX: usize = 1 << 20;

/// Bound, place and order of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclConfig {
    /// Most bytes the tries may take, at least 1. Within it DPDK makes fewer and larger tries, which are faster.
    pub max_bytes: usize,
    /// NUMA node to take the memory from, or `None` for any.
    pub socket: Option<u32>,
    /// What is looked at first.
    pub order: FieldOrder,
}

impl Default for AclConfig {
    fn default() -> Self {
        Self {
            max_bytes: 512 << 20,
            socket: None,
            order: FieldOrder::default(),
        }
    }
}

/// Why there is no [`Acl`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AclError {
    /// There is no rule: DPDK builds nothing of nothing.
    #[error("no rules to classify by")]
    Empty,
    /// More than [`RULES_MAX`] rules.
    #[error("more than {RULES_MAX} rules to classify by")]
    TooMany,
    /// Part of a rule or of the settings is out of range: see [`AclRule`], [`AclConfig`].
    #[error("rule to classify by: {what} out of range")]
    Range {
        /// Which part.
        what: &'static str,
    },
    /// The tries would take more than [`AclConfig::max_bytes`].
    #[error("{rules} rules to classify by need more than {} MiB: they overlap in too many ways", max_bytes >> 20)]
    TooBig {
        /// Rules.
        rules: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// DPDK's memory, or the system's during the build, does not suffice; or the rules overlap in so many ways that DPDK's eight
    /// tries do not, which it does not tell apart.
    #[error(
        "not enough memory or tries for {rules} rules to classify by: they overlap in too many ways, or DPDK needs more memory"
    )]
    NoMemory {
        /// Rules.
        rules: usize,
    },
    /// DPDK refused for another reason.
    #[error("cannot build {rules} rules to classify by: {errno}")]
    Build {
        /// Rules.
        rules: usize,
        /// DPDK's reason.
        errno: Errno,
    },
}

/// Rules in the making of an [`Acl`].
pub struct AclRules<F: Family> {
    raw: Vec<F::Raw>,
}

impl<F: Family> Clone for AclRules<F> {
    fn clone(&self) -> Self {
        Self {
            raw: self.raw.clone(),
        }
    }
}

impl<F: Family> Default for AclRules<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Family> AclRules<F> {
    /// No rules yet.
    pub fn new() -> Self {
        Self { raw: Vec::new() }
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// [`AclError::Range`], [`AclError::TooMany`]; the rules are then as they were.
    pub fn push(&mut self, rule: &AclRule<F::Prefix>) -> Result<(), AclError> {
        rule.check()?;
        for (prefix, what) in [(rule.source, "source"), (rule.destination, "destination")] {
            if !F::length_fits(prefix) {
                return Err(AclError::Range { what });
            }
        }
        if self.raw.len() >= RULES_MAX {
            return Err(AclError::TooMany);
        }
        self.raw.push(F::raw(rule));
        Ok(())
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// About one in `of` of the rules, at least one if there is any: picked as if at random, and the same ones each time. What a
    /// part of a list takes tells what the whole would take.
    pub fn part(&self, of: u32) -> Self {
        let chosen = |n: usize| (n as u32).wrapping_mul(0x9e37_79b9) <= u32::MAX / of.max(1);
        let all = self.raw.iter().enumerate();
        Self {
            raw: all.filter(|&(n, _)| chosen(n)).map(|(_, &raw)| raw).collect(),
        }
    }

    /// Builds the tries. Takes milliseconds to seconds: not for the packet way.
    ///
    /// # Errors
    /// [`AclError`].
    pub fn build(self, eal: &Eal, settings: &AclConfig) -> Result<Acl<F>, AclError> {
        let rules = self.raw.len();
        let (Ok(count), false) = (u32::try_from(rules), rules == 0) else {
            return Err(AclError::Empty);
        };
        if settings.max_bytes == 0 {
            return Err(AclError::Range { what: "max_bytes" });
        }
        let socket = settings.socket.map_or(Ok(-1), i32::try_from);
        let failed = |errno: Errno| match errno.code() {
            libc::ENOMEM => AclError::NoMemory { rules },
            libc::ERANGE => AclError::TooBig {
                rules,
                max_bytes: settings.max_bytes,
            },
            _ => AclError::Build { rules, errno },
        };
        let acl = Acl::<F>::create(
            eal,
            count,
            socket.map_err(|_| AclError::Range { what: "socket" })?,
        )?;
        let ctx = acl.raw.as_ptr();
        // SAFETY: the context was made for `count` rules of this size and has none; the rules are that many, of DPDK's
        // layout (see `rule`), and copied. Nobody else has the context yet.
        let added = unsafe { sys::rte_acl_add_rules(ctx, self.raw.as_ptr().cast(), count) };
        Errno::check(added).map_err(failed)?;
        drop(self.raw);
        let config = F::config(settings.max_bytes, settings.order);
        // SAFETY: as above; the configuration describes the fields of these rules and is copied. Running out of memory
        // inside makes DPDK jump over its own C frames only.
        let built = unsafe { sys::rte_acl_build(ctx, &config) };
        Errno::check(built).map_err(failed)?;
        Ok(acl)
    }
}

/// Rules ready to classify keys by; see the [module](self). Freed when dropped.
pub struct Acl<F: Family> {
    raw: NonNull<sys::rte_acl_ctx>,
    rules: u32,
    family: PhantomData<fn() -> F>,
    _eal: Eal,
}

/// Classifies by IPv4 addresses.
pub type Acl4 = Acl<V4>;
/// Classifies by IPv6 addresses.
pub type Acl6 = Acl<V6>;

// SAFETY: the context belongs to this value alone, and DPDK lets any thread free it: its list of contexts has a lock.
unsafe impl<F: Family> Send for Acl<F> {}
// SAFETY: through `&Acl` there is only rte_acl_classify, which takes the context as `const`, reads tries that nothing changes
// after the build, and keeps its state on the caller's stack.
unsafe impl<F: Family> Sync for Acl<F> {}

impl<F: Family> Drop for Acl<F> {
    fn drop(&mut self) {
        // SAFETY: made by rte_acl_create, and this was the only reference.
        unsafe { sys::rte_acl_free(self.raw.as_ptr()) };
    }
}

impl<F: Family> fmt::Debug for Acl<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acl").field("rules", &self.rules).finish()
    }
}

impl<F: Family> Acl<F> {
    /// A context with room for `rules` and none in it.
    fn create(eal: &Eal, rules: u32, socket: i32) -> Result<Self, AclError> {
        // Asked for a name that exists, DPDK gives the existing context, so each has a name of its own.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Digits and letters hold no NUL; 4 + 20 bytes are below RTE_ACL_NAMESIZE, which is 32.
        let name = CString::new(format!("acl_{number}")).unwrap_or_default();
        let parameters = sys::rte_acl_param {
            name: name.as_ptr(),
            socket_id: socket,
            rule_size: size_of::<F::Raw>() as u32,
            max_rule_num: rules,
        };
        // SAFETY: EAL is initialised (`eal`); the parameters are copied.
        let raw = unsafe { sys::rte_acl_create(&parameters) };
        // The one reason left is memory: 22.11 does not set rte_errno for it.
        let raw = NonNull::new(raw).ok_or(AclError::NoMemory {
            rules: rules as usize,
        })?;
        Ok(Self {
            raw,
            rules,
            family: PhantomData,
            _eal: eal.clone(),
        })
    }

    /// Bytes of DPDK's memory that `rules` take by themselves, tries apart.
    pub fn rule_bytes(rules: usize) -> usize {
        rules * size_of::<F::Raw>()
    }

    /// How many rules it was built from.
    pub fn rules(&self) -> u32 {
        self.rules
    }

    /// Writes the `userdata` of the rule with the highest priority that matches each of `keys`, or 0 when none does, to the
    /// same place in `results`. Works on as many as the shorter slice has and returns how many; several keys at once hide the
    /// memory's latency from each other.
    #[inline]
    pub fn classify(&self, keys: &[F::Key], results: &mut [u32]) -> usize {
        for (keys, results) in keys.chunks(BATCH).zip(results.chunks_mut(BATCH)) {
            let mut pointers = [const { MaybeUninit::<*const u8>::uninit() }; BATCH];
            let n = keys.len().min(results.len());
            for (pointer, key) in pointers.iter_mut().zip(&keys[..n]) {
                pointer.write(std::ptr::from_ref(key).cast());
            }
            // SAFETY: the context is alive and built. The first `n` <= BATCH pointers were written above (both chunks have at
            // most BATCH elements) and each leads to a key that holds every byte the fields name, also where DPDK reads four
            // bytes for the first field; there is room for `n` results of one category.
            let result = unsafe {
                sys::rte_acl_classify(
                    self.raw.as_ptr(),
                    pointers.as_mut_ptr().cast(),
                    results.as_mut_ptr(),
                    n as u32,
                    1,
                )
            };
            if result != 0 {
                // Refused arguments: cannot happen with one category. "No match" is what a caller may rely on then.
                results[..n].fill(0);
            }
        }
        keys.len().min(results.len())
    }

    /// The `userdata` of the rule that matches one key. Prefer [`Acl::classify`].
    #[inline]
    pub fn classify_one(&self, key: F::Key) -> Option<NonZeroU32> {
        let mut result = [0];
        self.classify(&[key], &mut result);
        NonZeroU32::new(result[0])
    }
}
