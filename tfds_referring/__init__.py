"""What datasets of referring segmentation share: files, pixels, audit."""
