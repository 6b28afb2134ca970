"""The page of `report`: its sections, its charts, and what draws them in the browser."""
