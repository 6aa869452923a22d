using Edge.Devices.Push;

namespace Edge.Devices.Local;

/// <summary>A mapper's figures: its devices, its push targets, and the protocol's own.</summary>
internal static class MapperMetrics
{
    private static readonly string[] s_states = ["online", "offline", "unhealthy"];

    public static string Text(IReadOnlyDictionary<string, DeviceWorker> workers, IReadOnlyList<PushQueue> queues, IDeviceDriver driver)
    {
        var text = new MetricsText();
        text.Family("mapper_devices", "gauge", "Devices by the state that was reported last.");
        foreach (var state in s_states)
            text.Value("mapper_devices", workers.Values.Count(worker => worker.ReportedState == state), ("state", state));
        PerDevice("mapper_values_total", "Values read.", worker => worker.Figures.Values);
        PerDevice("mapper_read_errors_total", "Reads of a property that the device refused.", worker => worker.Figures.Errors);
        PerDevice("mapper_writes_total", "Values written.", worker => worker.Figures.Writes);
        PerDevice("mapper_write_errors_total", "Desired values that the device or the model refused.", worker => worker.Figures.WriteErrors);
        PerDevice("mapper_losses_total", "Times that the device was not reached, or was lost.", worker => worker.Figures.Losses);
        PerDevice("mapper_reports_total", "Reports that EdgeCore took.", worker => worker.Figures.Reports);
        PerDevice("mapper_report_failures_total", "Reports that EdgeCore did not take.", worker => worker.Figures.ReportFailures);
        PerDevice("mapper_samples_dropped_total", "Samples of properties with a history that had no room before a report.", worker => worker.Figures.LostSamples);
        text.Family("mapper_poll_seconds", "histogram", "Polls of a device, each for all that is due at one time.");
        foreach (var (id, worker) in workers)
            text.Histogram("mapper_poll_seconds", worker.Figures.Polls, ("device", id));
        PerQueue("mapper_push_waiting", "gauge", "Samples that wait for a target.", queue => queue.Waiting);
        PerQueue("mapper_push_sent_total", "counter", "Samples that a target took.", queue => queue.Sent);
        PerQueue("mapper_push_dropped_total", "counter", "Samples that were lost: no room, or refused for good.", queue => queue.Dropped);
        PerQueue("mapper_push_failures_total", "counter", "Batches that a target did not take at a try.", queue => queue.Failures);
        driver.WriteMetrics(text);
        return text.ToString();

        void PerDevice(string name, string help, Func<DeviceWorker, long> value)
        {
            text.Family(name, "counter", help);
            foreach (var (id, worker) in workers)
                text.Value(name, value(worker), ("device", id));
        }

        void PerQueue(string name, string type, string help, Func<PushQueue, long> value)
        {
            text.Family(name, type, help);
            foreach (var queue in queues)
                text.Value(name, value(queue), ("target", queue.Name));
        }
    }
}
