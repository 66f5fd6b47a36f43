CREATE TABLE `links` (
	`id` text PRIMARY KEY NOT NULL,
	`hash` text NOT NULL,
	`project_id` text NOT NULL,
	`build_id` text NOT NULL,
	`attempt` integer NOT NULL,
	`artifact` text NOT NULL,
	`sha256` text NOT NULL,
	`created_by_key` text NOT NULL,
	`created_by_root` text NOT NULL,
	`kept` integer DEFAULT false NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`revoked_at` integer,
	FOREIGN KEY (`build_id`) REFERENCES `builds`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `links_hash_unique` ON `links` (`hash`);--> statement-breakpoint
CREATE INDEX `links_build` ON `links` (`build_id`,`created_at`);--> statement-breakpoint
CREATE INDEX `links_project` ON `links` (`project_id`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `links_key` ON `links` (`created_by_key`);--> statement-breakpoint
CREATE INDEX `links_expires` ON `links` (`expires_at`);--> statement-breakpoint
CREATE INDEX `links_revoked` ON `links` (`revoked_at`) WHERE "links"."revoked_at" IS NOT NULL;