CREATE TABLE `artifacts` (
	`build_id` text NOT NULL,
	`attempt` integer NOT NULL,
	`name` text NOT NULL,
	`sha256` text NOT NULL,
	`size` integer NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`build_id`, `attempt`, `name`),
	FOREIGN KEY (`sha256`) REFERENCES `blobs`(`sha256`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`build_id`,`attempt`) REFERENCES `attempts`(`build_id`,`attempt`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `artifacts_blob` ON `artifacts` (`sha256`);--> statement-breakpoint
CREATE INDEX `artifacts_created` ON `artifacts` (`created_at`);--> statement-breakpoint
CREATE TABLE `attempts` (
	`build_id` text NOT NULL,
	`attempt` integer NOT NULL,
	`worker_id` text NOT NULL,
	`instance_id` text NOT NULL,
	`claim_id` text NOT NULL,
	`claimed_at` integer NOT NULL,
	`started_at` integer,
	`ended_at` integer,
	`verdict` text,
	`verdict_step` text,
	`verdict_message` text,
	`cause` text,
	`evidence` text,
	`exit_code` integer,
	`explained` text,
	`quiet_ms` integer,
	`lateness_ms` integer,
	`report_hash` text,
	`log_length` integer,
	`log_sha256` text,
	`log_r2_key` text,
	`log_sealed_length` integer,
	`log_complete` integer,
	`log_deleted_at` integer,
	PRIMARY KEY(`build_id`, `attempt`),
	FOREIGN KEY (`build_id`) REFERENCES `builds`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `attempts_claim` ON `attempts` (`worker_id`,`claim_id`);--> statement-breakpoint
CREATE INDEX `attempts_worker` ON `attempts` (`worker_id`,`ended_at`);--> statement-breakpoint
CREATE INDEX `attempts_log` ON `attempts` (`ended_at`) WHERE "attempts"."log_r2_key" IS NOT NULL AND "attempts"."log_deleted_at" IS NULL;--> statement-breakpoint
CREATE TABLE `audit` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`key_id` text NOT NULL,
	`key_name` text NOT NULL,
	`action` text NOT NULL,
	`target` text
);
--> statement-breakpoint
CREATE TABLE `blobs` (
	`sha256` text PRIMARY KEY NOT NULL,
	`r2_key` text NOT NULL,
	`size` integer NOT NULL,
	`created_at` integer NOT NULL,
	`touched_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `blobs_touched` ON `blobs` (`touched_at`);--> statement-breakpoint
CREATE TABLE `builds` (
	`id` text PRIMARY KEY NOT NULL,
	`status` text NOT NULL,
	`attempt` integer DEFAULT 0 NOT NULL,
	`transition_id` text NOT NULL,
	`verdict` text,
	`verdict_step` text,
	`verdict_message` text,
	`max_attempts` integer NOT NULL,
	`platform` text NOT NULL,
	`command` text,
	`profile` text,
	`source_sha256` text NOT NULL,
	`source_blob` text,
	`artifact_globs` text NOT NULL,
	`timeouts` text NOT NULL,
	`pool` text NOT NULL,
	`project` text,
	`labels` text NOT NULL,
	`priority` integer NOT NULL,
	`inputs` text,
	`queue_rank` integer NOT NULL,
	`queued_at` integer NOT NULL,
	`not_before` integer DEFAULT 0 NOT NULL,
	`avoid_worker_id` text,
	`avoid_until` integer DEFAULT 0 NOT NULL,
	`retry_of` text,
	`idempotency_key` text,
	`request_hash` text,
	`created_by_key` text,
	`created_at` integer NOT NULL,
	`started_at` integer,
	`ended_at` integer,
	`checked_at` integer DEFAULT 0 NOT NULL,
	FOREIGN KEY (`source_blob`) REFERENCES `blobs`(`sha256`) ON UPDATE no action ON DELETE no action,
	CONSTRAINT "builds_final" CHECK(("builds"."status" IN ('succeeded', 'failed', 'cancelled')) = ("builds"."ended_at" IS NOT NULL))
);
--> statement-breakpoint
CREATE INDEX `builds_queue` ON `builds` (`status`,`pool`,`queue_rank`,`queued_at`);--> statement-breakpoint
CREATE INDEX `builds_created` ON `builds` (`created_at`);--> statement-breakpoint
CREATE INDEX `builds_ended` ON `builds` (`ended_at`);--> statement-breakpoint
CREATE INDEX `builds_source` ON `builds` (`source_blob`,`ended_at`);--> statement-breakpoint
CREATE UNIQUE INDEX `builds_idempotency` ON `builds` (`created_by_key`,`idempotency_key`);--> statement-breakpoint
CREATE TABLE `enrolments` (
	`hash` text PRIMARY KEY NOT NULL,
	`worker_id` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`key_id` text,
	FOREIGN KEY (`worker_id`) REFERENCES `workers`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `events` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`build_id` text NOT NULL,
	`attempt` integer NOT NULL,
	`type` text NOT NULL,
	`at` integer NOT NULL,
	`detail` text NOT NULL,
	FOREIGN KEY (`build_id`) REFERENCES `builds`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `events_build` ON `events` (`build_id`,`id`);--> statement-breakpoint
CREATE TABLE `histories` (
	`project` text NOT NULL,
	`platform` text NOT NULL,
	`profile` text NOT NULL,
	`history` text NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`project`, `platform`, `profile`)
);
--> statement-breakpoint
CREATE INDEX `histories_updated` ON `histories` (`updated_at`);--> statement-breakpoint
CREATE TABLE `keys` (
	`id` text PRIMARY KEY NOT NULL,
	`hash` text NOT NULL,
	`name` text NOT NULL,
	`scope` text NOT NULL,
	`worker_id` text,
	`pools` text,
	`created_at` integer NOT NULL,
	`last_used_at` integer,
	`expires_at` integer,
	`revoked_at` integer,
	`rotated_from` text,
	`overlap_ends_at` integer,
	FOREIGN KEY (`worker_id`) REFERENCES `workers`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `keys_hash_unique` ON `keys` (`hash`);--> statement-breakpoint
CREATE INDEX `keys_rotated_from` ON `keys` (`rotated_from`);--> statement-breakpoint
CREATE TABLE `outbox` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`kind` text NOT NULL,
	`build_id` text NOT NULL,
	`attempt` integer NOT NULL,
	`r2_key` text,
	`due_at` integer NOT NULL,
	`tries` integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE INDEX `outbox_due` ON `outbox` (`due_at`);--> statement-breakpoint
CREATE TABLE `workers` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`pool` text NOT NULL,
	`platforms` text NOT NULL,
	`slots` integer NOT NULL,
	`paused` text,
	`trusted_since` integer NOT NULL,
	`instance_id` text,
	`last_seen` integer,
	`slots_in_use` integer DEFAULT 0 NOT NULL,
	`vms` text DEFAULT '[]' NOT NULL,
	`agent_version` text,
	`findings` text,
	`created_at` integer NOT NULL,
	`removed_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `workers_name_unique` ON `workers` (`name`);