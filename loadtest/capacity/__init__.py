"""How far it scales: a model of cost against load, fitted to measurements, checked against others, and asked."""
