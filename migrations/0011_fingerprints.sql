ALTER TABLE `builds` ADD `fingerprint` text;--> statement-breakpoint
CREATE INDEX `builds_fingerprint` ON `builds` (`project_id`,`fingerprint`,`created_at`) WHERE "builds"."fingerprint" IS NOT NULL;