CREATE TABLE `attempt_evidence` (
	`build_id` text NOT NULL,
	`attempt` integer NOT NULL,
	`evidence` text NOT NULL,
	PRIMARY KEY(`build_id`, `attempt`),
	FOREIGN KEY (`build_id`,`attempt`) REFERENCES `attempts`(`build_id`,`attempt`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `build_inputs` (
	`build_id` text PRIMARY KEY NOT NULL,
	`key_id` text NOT NULL,
	`sealed` text NOT NULL,
	FOREIGN KEY (`build_id`) REFERENCES `builds`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `build_inputs_key` ON `build_inputs` (`key_id`);--> statement-breakpoint
CREATE TABLE `idempotency` (
	`root_id` text NOT NULL,
	`project` text NOT NULL,
	`name` text NOT NULL,
	`request_mac` text NOT NULL,
	`target` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`root_id`, `project`, `name`)
);
--> statement-breakpoint
CREATE INDEX `idempotency_target` ON `idempotency` (`target`);--> statement-breakpoint
CREATE INDEX `idempotency_created` ON `idempotency` (`created_at`);--> statement-breakpoint
ALTER TABLE `builds` ADD `has_inputs` integer;--> statement-breakpoint
ALTER TABLE `keys` ADD `root_id` text;--> statement-breakpoint
CREATE INDEX `keys_root` ON `keys` (`root_id`);--> statement-breakpoint
-- Written by hand: finds the first key of each lineage.
WITH RECURSIVE `lineage` (`id`, `root_id`) AS (
	SELECT `id`, `id` FROM `keys` WHERE `rotated_from` IS NULL OR `rotated_from` NOT IN (SELECT `id` FROM `keys`)
	UNION ALL
	SELECT `keys`.`id`, `lineage`.`root_id` FROM `keys` JOIN `lineage` ON `keys`.`rotated_from` = `lineage`.`id`
)
UPDATE `keys` SET `root_id` = (SELECT `root_id` FROM `lineage` WHERE `lineage`.`id` = `keys`.`id`);
