//! Every delay and every uncertain behaviour, with its quirk number (docs/quirks.md) and its default.

use serde::{Deserialize, Serialize};

macro_rules! switches {
    ($($(#[doc = $doc:literal])+ $name:ident : $type:ty = $default:expr;)+) => {
        /// Set through the control door (`PATCH /switches`), read everywhere.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Switches { $($(#[doc = $doc])+ pub $name: $type,)+ }
        impl Default for Switches {
            fn default() -> Switches { Switches { $($name: $default,)+ } }
        }
    };
}

switches! {
    /// Q1 seconds until consent and service principals are visible to the token endpoint (AADSTS7000229 before).
    entra_consent_delay_secs: i64 = 0;
    /// Q2 seconds until a new role or app role appears in new tokens.
    entra_role_delay_secs: i64 = 0;
    /// Q3 seconds until a new certificate is usable (AADSTS700027 before).
    entra_key_delay_secs: i64 = 0;
    /// Q4 body of a 403 of the Exchange admin API: `nul4k` or `json`.
    exo_403_body: String = "nul4k".into();
    /// Q5 paging of Exchange lists: `complete`, `followable` or `affinity_broken`.
    exo_paging: String = "complete".into();
    /// Q6 seconds until a verified domain is shown by Get-AcceptedDomain.
    exo_accepted_domain_delay_secs: i64 = 0;
    /// Q7 reading an unknown -Identity: `error` or `return_all`.
    exo_get_unknown_identity: String = "error".into();
    /// Q8 seconds until a rule change is effective (S29; Microsoft says up to 30 minutes).
    rule_effective_delay_secs: i64 = 0;
    /// Q9 client certificates need the clientAuth EKU (S3).
    require_client_auth_eku: bool = false;
    /// Q10 FromScope InOrganization on a returned message also needs AuthAs Internal (S32).
    in_organization_needs_internal: bool = false;
    /// Q11 an unauthenticated sender with an accepted domain counts as NotInOrganization (E2b); false = as neither.
    spoofed_own_domain_is_outside: bool = true;
    /// Q12 SentToScope InOrganization needs an authenticated session (documented; field rules contradict it).
    sent_to_scope_needs_authentication: bool = false;
    /// Q13 of several route rules without stop the `last` or the `first` wins (S38).
    route_rule_wins: String = "last".into();
    /// Q14 duplicates of a Message-ID to the same mailbox within 7 days are dropped silently (S62).
    drop_duplicates: bool = false;
    /// Q15 forks carry X-MS-Exchange-Transport-Forked (S33).
    stamp_forked: bool = true;
    /// Q16 Received fields from which a message is a loop (S54).
    hop_count_max: u32 = 30;
    /// Q17 passes through the route connector from which a message is a loop (S54).
    route_passes_max: u32 = 20;
    /// Q18 use BDAT when CHUNKING is offered (S46).
    use_bdat: bool = true;
    /// Q19 minutes of the retry schedule, the last one repeating (S49).
    retry_minutes: Vec<i64> = vec![1, 5, 10, 15, 15, 30, 60];
    /// Q20 hours until a queued message expires (S49).
    message_expiration_hours: i64 = 24;
    /// Q21 connector missing, disabled or not rule-scoped: `queue` or `ndr` (S38).
    bad_route_connector: String = "queue".into();
    /// Q22 seconds to wait for an answer to end-of-data (S51).
    end_of_data_timeout_secs: u64 = 600;
    /// Q23 recipients of one transaction to the gateway at most (S57).
    chip_recipients_max: usize = 1000;
    /// Q24 external bounces (null sender) are subject to rules like any message (E8).
    rules_see_null_sender: bool = true;
    /// Q25 limit on one message in bytes (S13).
    message_bytes_max: usize = 157_286_400;
    /// Q26 page size of Graph collections where $top is not given.
    graph_page_size: usize = 100;
    /// Q27 the address from which Exchange Online sends; its /24 on loopback stands for Microsoft's ranges.
    egress_address: String = "127.0.40.1".into();
    /// Q28 Remove- and Disable- only ask for confirmation unless Confirm is false.
    exo_confirm: bool = true;
    /// Q29 CloudServicesMailEnabled promotes headers for recipients outside the tenant, too (S21).
    promote_outside: bool = false;
    /// Q30 seconds until a change is in the activity feed (Microsoft: minutes to a day).
    activity_latency_secs: i64 = 0;
    /// Q31 share (0 to 1) of records that the activity feed gives twice, in another blob.
    activity_duplicates: f64 = 0.0;
    /// Q32 blobs are not listed in the order of their time.
    activity_reordered: bool = false;
    /// Q33 share (0 to 1) of records that come later than the others, in a later blob …
    activity_late: f64 = 0.0;
    /// Q33 … by so many seconds.
    activity_late_secs: i64 = 600;
    /// Q34 starting a subscription that runs is refused with AF20024.
    activity_start_again: bool = true;
    /// Q35 seconds until UnifiedAuditLogIngestionEnabled is effective (Microsoft: up to 60 minutes).
    audit_enable_delay_secs: i64 = 0;
    /// Q36 seconds by which cmdlets that read lag behind.
    exo_replication_delay_secs: i64 = 0;
    /// Q36 seconds by which Graph lags behind for applications, service principals, assignments, roles and domains.
    graph_replication_delay_secs: i64 = 0;
    /// Q37 share (0 to 1) of cmdlets that fail for the moment …
    exo_transient_rate: f64 = 0.0;
    /// Q37 … and of Graph requests …
    graph_transient_rate: f64 = 0.0;
    /// Q37 … of these the share of changes that were carried out before 504 was said.
    transient_after_rate: f64 = 0.0;
    /// Q38 share (0 to 1) of requests that are answered 429 with Retry-After 1.
    throttle_rate: f64 = 0.0;
    /// Q39 more than 100 message traces of a tenant in 5 minutes are refused.
    message_trace_throttled: bool = false;
    /// Q40 blobs on one page of the activity feed's list.
    activity_page_size: usize = 200;
    /// Q41 UserType of an application in the activity feed: 5 (Application) or 6 (ServicePrincipal).
    activity_app_user_type: i64 = 5;
    /// Q50 life of a delta token in seconds; after it 410.
    delta_token_ttl_secs: i64 = 7 * 24 * 3600;
    /// Q51 a page of a delta query repeats the last object of the page before.
    delta_duplicates: bool = false;
    /// Q52 each page of a delta query comes after an empty one.
    delta_empty_pages: bool = false;
    /// Q53 objects of one page of a delta query.
    delta_page_size: usize = 200;
    /// Q53 members in one entry of a group; a page tells of about twice as many.
    delta_members_max: usize = 500;
    /// Q54 the deletion of a user is told by each of its groups, too.
    delta_tells_deleted_members: bool = true;
    /// Q55 Location of a 410: `token` (a beginning with the old $select in it), `bare` (without $select) or `none`.
    delta_gone_location: String = "token".into();
    /// Q56 hours after which a message that waits for a rule's connector is categorised again, by the rules of then; 0: never.
    resubmit_hours: i64 = 12;
    /// Q57 what comes back through a connector is taken with 250 and disappears: no mailbox has it, nor the trace.
    lose_returned: bool = false;
    /// Q60 DELETE of a message moves it to `deleteditems` or straight to `recoverableitems`.
    graph_delete_to: String = "deleteditems".into();
    /// Q61 the folder Purges is `hidden`, `readable`, or its items are `movable` as well.
    graph_purges: String = "readable".into();
    /// Q62 milliseconds that a request at a mailbox takes, counted among those under way.
    mail_request_ms: u64 = 0;
    /// Q62 requests of one application at one mailbox at the same time …
    mailbox_concurrency_max: usize = 4;
    /// Q62 … and within ten minutes; more are refused with 429 …
    mailbox_requests_max: usize = 10_000;
    /// Q62 … and so many seconds in Retry-After when there are too many at once.
    mailbox_retry_after_secs: i64 = 1;
    /// Q63 permanentDelete is there (it is in the global cloud only).
    permanent_delete: bool = true;
    /// Q63 permanentDelete in a mailbox on hold: `keep` (in Purges) or `refuse`.
    hold_permanent_delete: String = "keep".into();
    /// Q64 seconds until an access policy or a role of Exchange for an application is effective (30 minutes to 2 hours).
    mail_access_delay_secs: i64 = 0;
    /// Q65 life of a delta token of messages or folders in seconds; 0: they end only when a scenario says so.
    mail_delta_token_ttl_secs: i64 = 0;
    /// Q65 tokens issued up to then (milliseconds since 1970) are answered with 410.
    mail_delta_tokens_void_until: i64 = -1;
    /// Q65 code of that 410: `SyncStateNotFound` or `resyncRequired`.
    mail_delta_gone_code: String = "SyncStateNotFound".into();
    /// Q65 messages on a page of a delta query unless the client says otherwise.
    mail_delta_page_size: usize = 10;
    /// Q66 requests of one $batch that run at the same time at one mailbox.
    batch_parallel: usize = 4;
    /// Q67 share (0 to 1) of notifications that never come …
    notification_drops: f64 = 0.0;
    /// Q67 … and whether a lifecycle notification `missed` says so …
    notification_drops_told: bool = true;
    /// Q67 … share that comes twice …
    notification_duplicates: f64 = 0.0;
    /// Q67 … milliseconds that each takes …
    notification_delay_ms: i64 = 0;
    /// Q67 … share that takes longer …
    notification_late: f64 = 0.0;
    /// Q67 … by so many milliseconds.
    notification_late_ms: i64 = 60_000;
    /// Q68 seconds until a notification is tried again, the last one repeating …
    notification_retry_secs: Vec<i64> = vec![10, 30, 60, 120, 300, 600];
    /// Q68 … and after which it is given up.
    notification_give_up_secs: i64 = 4 * 3600;
    /// Q68 milliseconds in which a webhook has to answer (older pages: 10000).
    webhook_answer_ms: u64 = 3000;
    /// Q69 milliseconds from which an answer is slow (older pages: 10000).
    webhook_slow_ms: u64 = 2900;
    /// Q69 seconds by which notifications to a slow endpoint are put off (older pages: 600).
    webhook_slow_delay_secs: i64 = 10;
    /// Q70 longest life of a subscription to messages in minutes (older pages: 4230) …
    subscription_minutes_max: i64 = 10_080;
    /// Q70 … and of one with resource data.
    subscription_rich_minutes_max: i64 = 1440;
    /// Q71 seconds after an unanswered reauthorizationRequired from which notifications are lost.
    reauthorization_grace_secs: i64 = 3600;
    /// Not a behaviour of Microsoft: no webhook can be reached.
    webhooks_down: bool = false;
    /// Not a behaviour of Microsoft: webhooks may be http.
    webhook_plain_http: bool = false;
    /// Not a behaviour of Microsoft: keep a copy of all that crosses the wire to and from gateways.
    record_wire: bool = false;
}
