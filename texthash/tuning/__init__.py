"""Search of hyper-parameters on validation.

    spaces            the space: the method's own, changed by the configuration
    sweep             its trials on Ray Tune: Optuna with ASHA, or a population
    trial             one trial in a process of its own
    sweep_record      what a sweep is known by, and its result, from which it goes on
    cost_estimate     what a sweep will take

Trials are compared on validation alone.
"""
