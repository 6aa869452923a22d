using System.Threading.Channels;

namespace Edge.Devices;

/// <content>Writing: what is desired, and what the local API orders.</content>
internal sealed partial class DeviceWorker
{
    private const int CommandsMax = 64;
    private const long WriteRetryMs = 10_000;
    private readonly Channel<WriteCommand> _commands = Channel.CreateBounded<WriteCommand>(CommandsMax); // a further one is refused

    /// <summary>Writes a value now, past the desired one; the cloud's desired value is written again when it changes or the device comes back.</summary>
    /// <exception cref="DeviceRefusedException">The property is not served or not writable, the value is not allowed, or the device refuses.</exception>
    /// <exception cref="DeviceUnreachableException">The device is not there.</exception>
    public async Task WriteAsync(string property, string value, CancellationToken cancellationToken)
    {
        var command = new WriteCommand(property, value, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        if (!_commands.Writer.TryWrite(command))
            throw new DeviceRefusedException($"{CommandsMax} writes wait for device {_id} already");
        _wake.Writer.TryWrite(true);
        await command.Done.Task.WaitAsync(cancellationToken);
    }

    private async Task ServeCommandsAsync(CancellationToken cancellationToken)
    {
        while (_commands.Reader.TryRead(out var command))
        {
            try
            {
                var property = _properties.GetValueOrDefault(command.Property) ?? throw new DeviceRefusedException($"device {_id} has no property '{command.Property}'");
                if (property.Access is not { } access)
                    throw new DeviceRefusedException(property.Refusal);
                if (property.DesiredRefusal(command.Value) is { } refusal)
                    throw new DeviceRefusedException(refusal);
                if (!_connected)
                    throw new DeviceUnreachableException(_offlineReason.Length > 0 ? _offlineReason : $"device {_id} is not connected yet");
                await access.WriteAsync(command.Value, cancellationToken);
                Figures.Written();
                DeviceLog.Wrote(_log, _id, property.Info.Name, command.Value);
                (property.NextCollectMs, property.NextReportMs) = (0, 0);
                command.Done.TrySetResult();
            }
            catch (DeviceUnreachableException e)
            {
                command.Done.TrySetException(e);
                if (_connected)
                    Lost(e);
            }
            catch (DeviceRefusedException e)
            {
                command.Done.TrySetException(e);
            }
        }
    }

    private async Task WriteAsync(PropertyState property, IPropertyAccess access, CancellationToken cancellationToken)
    {
        var desired = property.Desired!;
        var refusal = property.DesiredRefusal(desired);
        try
        {
            if (refusal is null)
            {
                await access.WriteAsync(desired, cancellationToken);
                Figures.Written();
                DeviceLog.Wrote(_log, _id, property.Info.Name, desired);
                (property.Observed, property.ObservedMs) = (desired, NowMs());
                property.WriteError = "";
            }

            property.WritePending = false;
        }
        catch (DeviceRefusedException e)
        {
            refusal = $"desired value {desired} is not written: {e.Message}";
            property.NextWriteMs = NowMs() + WriteRetryMs;
        }

        if (refusal is not null)
        {
            Figures.WriteRefused();
            if (refusal != property.WriteError)
                DeviceLog.PropertyRefused(_log, _id, property.Info.Name, refusal);
            property.WriteError = refusal;
        }

        // Read back at once, and say so at once: somebody waits for this value.
        property.Dirty = true;
        property.NextCollectMs = 0;
        property.NextReportMs = 0;
    }

    private sealed record WriteCommand(string Property, string Value, TaskCompletionSource Done);
}
