using Edge.Protocol.Messages;

namespace Edge.Core.EdgeHub;

/// <summary>Takes the messages of group <c>twin</c> that answer nothing: <c>membership</c>, <c>twin</c> (kubeedge-wire §4.2).</summary>
/// <remarks>Called one at a time, in the order of arrival. They need no answer. Devices themselves come through <see cref="MetaManager.IMetaStore"/>.</remarks>
public interface ITwinMessages
{
    ValueTask HandleAsync(Message message);
}
