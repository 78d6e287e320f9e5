use std::sync::Mutex as StdMutex;
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;

/// Answers `A1`/`R1`, `A2`/`R2`, ...; each refresh token works once, as with rotation.
#[derive(Debug)]
struct Rotating {
    state: StdMutex<(u64, Vec<String>)>,
    next: StdMutex<Vec<Answer>>,
}

#[derive(Debug)]
enum Answer {
    /// The exchange happens, the answer takes another poll.
    Slow,
    /// The exchange happens, the answer is lost.
    Lost,
    /// The exchange does not happen.
    Down,
}

impl Rotating {
    fn new() -> Arc<Self> {
        Arc::new(Self { state: StdMutex::new((0, Vec::new())), next: StdMutex::default() })
    }

    fn then(&self, answer: Answer) {
        self.next.lock().unwrap().push(answer);
    }

    fn presented(&self) -> Vec<String> {
        self.state.lock().unwrap().1.clone()
    }
}

#[async_trait]
impl Exchange for Rotating {
    async fn exchange(&self, refresh_token: Option<&SecretString>) -> Result<StoredToken> {
        let presented = refresh_token.unwrap().expose_secret().to_owned();
        let answer = self.next.lock().unwrap().pop();
        if matches!(answer, Some(Answer::Down)) {
            return Err(Error::new(ErrorKind::Unavailable, "down"));
        }
        let token = {
            let mut state = self.state.lock().unwrap();
            state.1.push(presented.clone());
            if presented != format!("R{}", state.0) {
                return Err(Error::new(ErrorKind::Authentication, "dead").retrying(Retry::Never).with_code("invalid_grant"));
            }
            state.0 += 1;
            StoredToken {
                access_token: format!("A{}", state.0),
                refresh_token: Some(format!("R{}", state.0)),
                instance_url: Some("https://acme.example".into()),
                issued_at: None,
                expires_at: None,
            }
        };
        match answer {
            Some(Answer::Slow) => {
                let mut waited = false;
                std::future::poll_fn(|cx| {
                    if std::mem::replace(&mut waited, true) {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
                Ok(token)
            }
            Some(Answer::Lost) => Err(Error::new(ErrorKind::Timeout, "no answer").ambiguous()),
            _ => Ok(token),
        }
    }

    fn initial_refresh_token(&self) -> Option<SecretString> {
        Some(SecretString::from("R0"))
    }
}

fn text(token: &AccessToken) -> &str {
    token.secret().expose_secret()
}

fn source(exchange: &Arc<Rotating>, cache: &Arc<MemoryTokenCache>, host: &Host) -> Renewable {
    Renewable::new(Arc::clone(exchange) as _, Arc::clone(cache) as _, "k", host.clone())
}

fn setup() -> (Arc<Rotating>, Arc<MemoryTokenCache>, Host) {
    let host = Host::manual(1);
    (Rotating::new(), Arc::new(MemoryTokenCache::new(host.clone())), host)
}

#[test]
fn many_callers_one_exchange() {
    let (exchange, cache, host) = setup();
    let tokens = source(&exchange, &cache, &host);
    exchange.then(Answer::Slow);
    let all = finish(join_all((0..20).map(|_| tokens.token())));
    assert!(all.iter().all(|token| text(token.as_ref().unwrap()) == "A1"));
    assert_eq!(exchange.presented(), ["R0"]);

    let stale = all[0].as_ref().unwrap();
    let renewed = finish(join_all((0..20).map(|_| tokens.refresh(stale))));
    assert!(renewed.iter().all(|token| text(token.as_ref().unwrap()) == "A2"));
    assert_eq!(exchange.presented(), ["R0", "R1"], "a token newer than the caller's counts as renewed");
}

#[test]
fn two_processes_share_the_chain() {
    let (exchange, cache, host) = setup();
    let (one, two) = (source(&exchange, &cache, &host), source(&exchange, &cache, &host));
    let first = finish(one.token()).unwrap();
    assert_eq!(text(&finish(two.token()).unwrap()), "A1");
    assert_eq!(text(&finish(one.refresh(&first)).unwrap()), "A2");
    assert_eq!(text(&finish(two.refresh(&first)).unwrap()), "A2");
    assert_eq!(exchange.presented(), ["R0", "R1"]);
}

#[test]
fn a_foreign_lock_is_waited_for_and_then_reported() {
    let (exchange, cache, host) = setup();
    cache.try_lock("k", "somebody else", LOCK_WAIT * 2).now_or_never().unwrap().unwrap();
    let tokens = source(&exchange, &cache, &host);
    let error = finish(tokens.token()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(exchange.presented().is_empty());
    // The lock expires on the manual clock while it is waited for.
    assert_eq!(text(&finish(tokens.token()).unwrap()), "A1");
}

#[test]
fn a_dropped_caller_loses_nothing() {
    let (exchange, cache, host) = setup();
    let tokens = source(&exchange, &cache, &host);
    exchange.then(Answer::Slow);
    assert!(tokens.token().now_or_never().is_none(), "dropped while the exchange is under way");
    assert_eq!(text(&finish(tokens.token()).unwrap()), "A1");
    assert_eq!(exchange.presented(), ["R0"]);
}

#[test]
fn a_lost_answer_is_not_repeated_by_the_same_call_and_ends_in_a_clear_error() {
    let (exchange, cache, host) = setup();
    let tokens = source(&exchange, &cache, &host);
    exchange.then(Answer::Lost);
    let error = finish(tokens.token()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!error.may_have_applied(), "the caller's own request was never sent");
    assert_eq!(exchange.presented(), ["R0"]);
    let error = finish(tokens.token()).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Authentication, Retry::Never));
    assert!(error.message().contains("authorize again"), "{error}");
}

#[test]
fn an_outage_passes() {
    let (exchange, cache, host) = setup();
    let tokens = source(&exchange, &cache, &host);
    exchange.then(Answer::Down);
    assert!(finish(tokens.token()).unwrap_err().is_retryable());
    assert_eq!(text(&finish(tokens.token()).unwrap()), "A1");
}

/// A cache that loses a save on demand.
#[derive(Debug)]
struct Failing(MemoryTokenCache, std::sync::atomic::AtomicBool);

#[async_trait]
impl TokenCache for Failing {
    async fn load(&self, key: &str) -> Result<Option<CachedToken>> {
        self.0.load(key).await
    }
    async fn save(&self, key: &str, expected: Option<u64>, token: &StoredToken) -> Result<u64> {
        if self.1.swap(false, Ordering::SeqCst) {
            return Err(Error::store("disk full"));
        }
        self.0.save(key, expected, token).await
    }
    async fn try_lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<bool> {
        self.0.try_lock(key, owner, ttl).await
    }
    async fn unlock(&self, key: &str, owner: &str) -> Result<()> {
        self.0.unlock(key, owner).await
    }
}

#[test]
fn an_unsaved_answer_is_kept_and_saved_before_it_is_used() {
    let host = Host::manual(1);
    let exchange = Rotating::new();
    let cache = Arc::new(Failing(MemoryTokenCache::new(host.clone()), true.into()));
    let tokens = Renewable::new(Arc::clone(&exchange) as _, Arc::clone(&cache) as _, "k", host);
    assert_eq!(finish(tokens.token()).unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(text(&finish(tokens.token()).unwrap()), "A1");
    assert_eq!(exchange.presented(), ["R0"], "the CRM was asked once");
    let stored = finish(cache.load("k")).unwrap().unwrap();
    assert_eq!(stored.token.refresh_token.as_deref(), Some("R1"));
}

#[test]
fn invalid_grant_reads_the_cache_again() {
    let (exchange, cache, host) = setup();
    let tokens = source(&exchange, &cache, &host);
    let first = finish(tokens.token()).unwrap();
    // Another process rotates without the lock and saves while ours is on the way: play it by hand.
    let stored = finish(cache.load("k")).unwrap().unwrap();
    let other = finish(exchange.exchange(Some(&SecretString::from("R1")))).unwrap();
    #[derive(Debug)]
    struct Racing(Arc<Rotating>, Arc<MemoryTokenCache>, StdMutex<Option<(u64, StoredToken)>>);
    #[async_trait]
    impl Exchange for Racing {
        async fn exchange(&self, refresh_token: Option<&SecretString>) -> Result<StoredToken> {
            let pending = self.2.lock().unwrap().take();
            if let Some((generation, token)) = pending {
                self.1.save("k", Some(generation), &token).await.unwrap();
            }
            self.0.exchange(refresh_token).await
        }
    }
    let racing = Racing(Arc::clone(&exchange), Arc::clone(&cache), StdMutex::new(Some((stored.generation, other))));
    let tokens = Renewable::new(Arc::new(racing), Arc::clone(&cache) as _, "k", host);
    assert_eq!(text(&finish(tokens.refresh(&first)).unwrap()), "A2");
}

#[test]
fn an_expired_token_is_renewed_before_use() {
    let (exchange, cache, host) = setup();
    let old = StoredToken {
        access_token: "old".into(),
        refresh_token: Some("R0".into()),
        instance_url: None,
        issued_at: None,
        expires_at: Some(host.now()),
    };
    cache.save("k", None, &old).now_or_never().unwrap().unwrap();
    assert_eq!(text(&finish(source(&exchange, &cache, &host).token()).unwrap()), "A1");
}

#[test]
fn a_static_token_cannot_be_renewed() {
    let token = StaticToken::new(SecretString::from("secret"), None);
    let now = finish(token.token()).unwrap();
    let error = finish(token.refresh(&now)).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Authentication, Retry::Never));
    assert!(!format!("{token:?}").contains("secret"));
}

/// Polls to the end; the futures here wake themselves.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("the future does not finish");
}
