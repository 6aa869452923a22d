using Edge.Protocol.Messages;

namespace Edge.Cloud.CloudHub.Sessions;

/// <summary>What a stock edge is to be told of its devices by <c>membership</c>, and what it was told and may not have looked at (kubeedge-wire §4.2); pure.</summary>
/// <remarks>It answers none of these messages. That it has looked at one shows when it answers an object that was sent after it; one after which nothing is sent counts as
/// looked at after a while.</remarks>
internal sealed class Membership
{
    /// <summary>Devices in one message. One takes 600 bytes at most, about 80 as a rule.</summary>
    public const int DevicesMax = 100;

    private readonly Queue<string> _present = new();
    private readonly Queue<(long Order, long ReadByMs)> _unread = new();

    // Devices of which a state is to go or is unanswered, by path, with their uid: one that is to be there and one whose delete is on its way. Nothing is said of a delete that
    // comes, or is sent again, when another device of the name is there or on its way.
    private readonly Dictionary<string, string> _coming = [];
    private readonly Dictionary<string, string> _leaving = [];

    /// <summary>Devices that the edge has, by their paths, of which it is to be told anew.</summary>
    public int Owed => _present.Count;

    /// <summary>Messages sent and perhaps not looked at.</summary>
    public int Unread => _unread.Count;

    /// <summary>When the oldest of these counts as looked at; <see cref="long.MaxValue"/> when there is none.</summary>
    public long ReadByMs => _unread.TryPeek(out var oldest) ? oldest.ReadByMs : long.MaxValue;

    public bool IsEmpty => _present.Count == 0 && _unread.Count == 0 && _coming.Count == 0 && _leaving.Count == 0;

    /// <summary>The edge has these devices already; it is to be told all the same.</summary>
    public void Has(IReadOnlyList<string> devices)
    {
        foreach (var device in devices)
            _present.Enqueue(device);
    }

    /// <summary>Takes the next message about devices that the edge has; null when there is none.</summary>
    public SessionOutput.SendMembers? TakePresent()
    {
        if (_present.Count == 0)
            return null;
        var message = new SessionOutput.SendMembers([], []);
        while (message.Added.Count < DevicesMax && _present.TryDequeue(out var device))
            message.Added.Add(device);
        return message;
    }

    /// <summary>This state of a device is to go.</summary>
    public void Delivers(DownObject device)
    {
        if (!device.IsDelete)
        {
            _coming[device.Resource] = device.Uid;
            return;
        }

        Remove(_coming, device);
        if (!_coming.ContainsKey(device.Resource))
            _leaving[device.Resource] = device.Uid;
    }

    /// <summary>Writes down what the edge must be told before this state of a device is sent.</summary>
    /// <param name="message">What goes out before it anyway. Replaced where that is null, or says the contrary of the same name: which comes first has no meaning within one.</param>
    /// <returns>True when <paramref name="message"/> is a new one.</returns>
    public bool Tell(DownObject device, ref SessionOutput.SendMembers? message)
    {
        // Its name is another device's by now, which the edge must not be told to be gone.
        if (device.IsDelete && _leaving.GetValueOrDefault(device.Resource) != device.Uid)
            return false;
        if (!device.IsDelete)
            _leaving.Remove(device.Resource);
        var isNew = message is null || (device.IsDelete ? message.Added : message.Removed).Contains(device.Resource);
        if (isNew)
            message = new SessionOutput.SendMembers([], []);
        (device.IsDelete ? message!.Removed : message!.Added).Add(device.Resource);
        return isNew;
    }

    /// <summary>A message goes out.</summary>
    /// <param name="order">Higher than that of whatever was sent before.</param>
    public void Sent(long order, long readByMs) => _unread.Enqueue((order, readByMs));

    /// <summary>The edge has answered this, which was first sent as number <paramref name="order"/>.</summary>
    /// <param name="isDone">It is stored, and there is no newer state of it.</param>
    public void Answered(DownObject obj, bool isDone, long order)
    {
        while (_unread.TryPeek(out var oldest) && oldest.Order < order)
            _unread.Dequeue();
        if (isDone)
            Done(obj);
    }

    /// <summary>Nothing of this is to go any more.</summary>
    public void Done(DownObject obj) => Remove(obj.IsDelete ? _leaving : _coming, obj);

    /// <summary>What was to be looked at by now counts as looked at.</summary>
    public void Elapsed(long nowMs)
    {
        while (ReadByMs <= nowMs)
            _unread.Dequeue();
    }

    public static bool IsAbout(DownObject obj) => ResourcePath.TryParse(obj.Resource, out var path) && path.Type == ResourceTypes.Device;

    private static void Remove(Dictionary<string, string> devices, DownObject device)
    {
        if (devices.GetValueOrDefault(device.Resource) == device.Uid)
            devices.Remove(device.Resource);
    }
}
