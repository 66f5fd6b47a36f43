ALTER TABLE `artifacts` ADD `app` text;--> statement-breakpoint
ALTER TABLE `artifacts` ADD `icon` text REFERENCES blobs(sha256) ON DELETE SET NULL;--> statement-breakpoint
CREATE INDEX `artifacts_icon` ON `artifacts` (`icon`) WHERE "artifacts"."icon" IS NOT NULL;