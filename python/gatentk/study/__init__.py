"""The main job: minimal gradient angles and condition numbers by depth, of infinite width and of finite networks."""
