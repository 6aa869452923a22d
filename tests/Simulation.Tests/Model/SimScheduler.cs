using System.Runtime.ExceptionServices;

namespace Edge.Simulation.Tests.Model;

/// <summary>Runs the tasks of one process one after the other, in the order in which they became ready, on the thread of the run. Nothing runs until <see cref="Pump"/>.</summary>
internal sealed class SimScheduler : TaskScheduler
{
    private readonly Queue<Task> _ready = [];
    private ExceptionDispatchInfo? _fault;

    /// <summary>Starts a task here; what it awaits comes back here.</summary>
    public void Start(Func<Task> run) => _ = Task.Factory.StartNew(
        async () =>
        {
            try
            {
                await run();
            }
            catch (Exception e)
            {
                _fault ??= ExceptionDispatchInfo.Capture(e); // whoever pumps gets it
            }
        },
        CancellationToken.None, TaskCreationOptions.DenyChildAttach, this);

    /// <summary>Runs what is ready, and what becomes ready by that.</summary>
    public void Pump()
    {
        if (_ready.Count == 0)
            return;
        // A test's own context would take what is awaited away from here.
        var context = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(null);
        try
        {
            while (_ready.TryDequeue(out var task))
                TryExecuteTask(task);
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(context);
        }

        _fault?.Throw();
    }

    protected override void QueueTask(Task task) => _ready.Enqueue(task);

    protected override bool TryExecuteTaskInline(Task task, bool taskWasPreviouslyQueued) => false;

    protected override IEnumerable<Task> GetScheduledTasks() => [.. _ready];
}
