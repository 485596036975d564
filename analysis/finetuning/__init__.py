"""Fine-tuning on episodes and their rationales; what trains is in ``models.refine``, imported when it is asked for."""
