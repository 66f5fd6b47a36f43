CREATE TABLE `image_turns` (
	`worker_id` text NOT NULL,
	`name` text NOT NULL,
	`pool` text NOT NULL,
	`reference` text NOT NULL,
	`heard_at` integer NOT NULL,
	`ended_at` integer,
	PRIMARY KEY(`worker_id`, `name`),
	FOREIGN KEY (`worker_id`) REFERENCES `workers`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `image_turns_pool` ON `image_turns` (`pool`,`name`) WHERE "image_turns"."ended_at" IS NULL;--> statement-breakpoint
CREATE TABLE `pool_images` (
	`pool` text NOT NULL,
	`name` text NOT NULL,
	`reference` text NOT NULL,
	`at_once` integer NOT NULL,
	`set_at` integer NOT NULL,
	PRIMARY KEY(`pool`, `name`),
	FOREIGN KEY (`pool`) REFERENCES `pools`(`name`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
ALTER TABLE `attempts` ADD `image` text;--> statement-breakpoint
ALTER TABLE `attempts` ADD `kept_until` integer;--> statement-breakpoint
CREATE INDEX `attempts_kept` ON `attempts` (`worker_id`,`kept_until`) WHERE "attempts"."kept_until" IS NOT NULL;--> statement-breakpoint
ALTER TABLE `builds` ADD `image` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `image_attempt` integer;--> statement-breakpoint
ALTER TABLE `builds` ADD `keep_ms` integer;--> statement-breakpoint
CREATE INDEX `builds_queue_image` ON `builds` (`pool`,`platform`,`project_id`,`trusted`,`image`,`queue_rank`,`queued_at`) WHERE "builds"."status" = 'queued';--> statement-breakpoint
ALTER TABLE `projects` ADD `image` text;--> statement-breakpoint
ALTER TABLE `workers` ADD `images` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `workers` ADD `image_fetches` text;--> statement-breakpoint
-- Written by hand: the former release does not know images, so it would hand such a build to any Mac. It loses
-- its compare-and-set here, and takes another build.
CREATE TRIGGER `image_is_offered` BEFORE UPDATE OF `status` ON `builds`
	WHEN OLD.`status` = 'queued' AND NEW.`status` = 'assigned' AND NEW.`image` IS NOT NULL
		AND NEW.`image_attempt` IS NOT NEW.`attempt`
BEGIN
	SELECT RAISE(IGNORE);
END;
