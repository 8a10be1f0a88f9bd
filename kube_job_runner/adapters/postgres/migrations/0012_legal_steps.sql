-- compatible
-- The second lock of the state machine, written from `domain/states.py`; the first is the program's own. A test compares
-- both with the table, pair by pair (tests/integration/postgres/test_legal_steps.py).

-- Every row of the history is one step. The first one of a job comes from nowhere.
CREATE FUNCTION transitions_refuse_illegal_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % is % and cannot become % in one step', NEW.job_id, coalesce(NEW.from_state, 'new'), NEW.to_state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'transitions_legal_step';
END
$$;

CREATE TRIGGER transitions_legal_step BEFORE INSERT OR UPDATE ON transitions FOR EACH ROW
    WHEN ((coalesce(NEW.from_state, 'new'), NEW.to_state) NOT IN (
        ('new', 'queued'),
        ('queued', 'starting'), ('queued', 'failed'), ('queued', 'cancelled'),
        ('starting', 'queued'), ('starting', 'running'), ('starting', 'stopping'), ('starting', 'succeeded'),
        ('starting', 'failed'), ('starting', 'cancelled'),
        ('running', 'queued'), ('running', 'stopping'), ('running', 'succeeded'), ('running', 'failed'),
        ('running', 'cancelled'),
        ('stopping', 'queued'), ('stopping', 'succeeded'), ('stopping', 'failed'), ('stopping', 'cancelled')))
    EXECUTE FUNCTION transitions_refuse_illegal_step();

-- One commit may take several steps, so the row of a job may change by more than one. No commit goes on from a state
-- `queued` that it entered itself.
CREATE FUNCTION jobs_refuse_illegal_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % is % and cannot become %', OLD.id, OLD.state, NEW.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_legal_change';
END
$$;

CREATE TRIGGER jobs_legal_change BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
        ('queued', 'starting'), ('queued', 'running'), ('queued', 'stopping'), ('queued', 'succeeded'),
        ('queued', 'failed'), ('queued', 'cancelled'),
        ('starting', 'queued'), ('starting', 'running'), ('starting', 'stopping'), ('starting', 'succeeded'),
        ('starting', 'failed'), ('starting', 'cancelled'),
        ('running', 'queued'), ('running', 'stopping'), ('running', 'succeeded'), ('running', 'failed'),
        ('running', 'cancelled'),
        ('stopping', 'queued'), ('stopping', 'succeeded'), ('stopping', 'failed'), ('stopping', 'cancelled')))
    EXECUTE FUNCTION jobs_refuse_illegal_change();

-- It includes what this one refused. The function of this one goes with the first contract after a release.
DROP TRIGGER jobs_terminal_state ON jobs;
